"""What a reader yields, and what it does with a record that it cannot read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from typing import BinaryIO, NamedTuple, Protocol

import pyarrow as pa

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.listing import SourceFile
from vecmill.errors import SourceError


class Document(NamedTuple):
    """One document as its source has it.

    Attributes
    ----------
    text : the text before cleaning
    position : where in the source it stands ("line 3", "row 10"), distinct within the source
    title : empty where the source states none
    explicit_id : what the source itself calls the document, empty where it does not
    """

    text: str
    position: str
    title: str = ""
    explicit_id: str = ""

    @property
    def place(self) -> str:
        """What its ``doc_id`` is made of beside the source's name and the text."""
        return f"id {self.explicit_id}" if self.explicit_id else self.position


class Rows(NamedTuple):
    """Documents of a source that is a table, as columns: n rows one after the other.

    Attributes
    ----------
    texts : string[n] or large_string[n], UTF-8 without nulls
    first_row : number of the first of them in the source
    titles, explicit_ids : as in :class:`Document`, n each; None where the source has no such column
    """

    texts: pa.Array
    first_row: int = 0
    titles: list[str] | None = None
    explicit_ids: list[str] | None = None

    @property
    def positions(self) -> list[str]:
        """:attr:`Document.position` of each."""
        return [f"row {row}" for row in range(self.first_row, self.first_row + len(self.texts))]

    @property
    def places(self) -> list[str]:
        """:attr:`Document.place` of each."""
        return self.positions if self.explicit_ids is None else [f"id {each}" for each in self.explicit_ids]

    def documents(self) -> Iterator[Document]:
        """The same documents one by one."""
        nothing = [""] * len(self.texts)
        columns = (self.texts.to_pylist(), self.positions, self.titles or nothing, self.explicit_ids or nothing)
        return map(Document, *columns)


# Called with the reason why a record cannot be read; raises it, or counts it and returns so that the reader goes on.
OnMalformed = Callable[[SourceError], None]


class Reader(Protocol):
    """Yields the documents of one open source of one format, in order, holding no more than one record in memory."""

    def __call__(
        self, stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
    ) -> Iterator[Document]: ...


def malformed(file: SourceFile, place: str, found: str, expected: str = "") -> SourceError:
    """The error for a record that cannot be read; ``place`` is its line or row."""
    return SourceError(
        f"{file.uri}, {place}: {found}",
        expected=expected,
        todo="correct the record, or leave such records out with corpus.malformed=skip",
    )


def require_columns(file: SourceFile, config: CorpusConfig, present: Sequence[str], place: str) -> None:
    """Refuse a table that lacks a column the configuration names.

    Raises
    ------
    SourceError : names the missing column, those found, and the nearest name
    """
    for option in ("text_column", "title_column", "id_column"):
        wanted = getattr(config, option)
        if wanted is None:
            continue
        if wanted not in present:
            near = get_close_matches(wanted, present, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise SourceError(
                f"{file.uri}, {place}: no column {wanted!r}; found {', '.join(map(repr, present)) or 'none'}",
                todo=f"{hint}set corpus.{option} to one of the columns found",
            )
        if list(present).count(wanted) > 1:
            raise SourceError(
                f"{file.uri}, {place}: {wanted!r} is the name of several columns", todo="rename all but one"
            )


def too_large(file: SourceFile, place: str, config: CorpusConfig, hint: str) -> SourceError:
    """The error for a record that would not fit into the memory granted to one."""
    return SourceError(
        f"{file.uri}, {place}: a document is larger than {config.max_document_mib} MiB",
        todo=f"{hint} or raise corpus.max_document_mib",
    )
