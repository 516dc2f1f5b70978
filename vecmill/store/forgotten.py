"""Documents that must never come back: the forget list, which lies beside the artifacts of a store.

Each call of ``vecmill forget`` adds one file to ``<store>/forgotten/``; the list is what all of them say. Nothing is
ever changed there, so two calls at once lose nothing, on a disk as in a bucket.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Protocol

from vecmill.errors import StoreError
from vecmill.store.digest import digest_json

FORGOTTEN_FOLDER = "forgotten"
_SUFFIX = ".list.json"
_DIGEST_BYTES = 16


@dataclass(frozen=True, order=True)
class ForgottenDocument:
    """A document that must not come back.

    Attributes
    ----------
    doc_id : 32 hex digits
    text_digest : of its clean text (:func:`text_digest`), by which a copy is known wherever it stands; empty where the
        text was not seen
    source_uri : file that it came from, empty where that is not known
    """

    doc_id: str
    text_digest: str = ""
    source_uri: str = ""


@dataclass(frozen=True)
class Forgotten:
    """The forget list of a store."""

    documents: tuple[ForgottenDocument, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.documents)

    @cached_property
    def doc_ids(self) -> frozenset[str]:
        """Names of all documents on the list."""
        return frozenset(each.doc_id for each in self.documents)

    @cached_property
    def text_digests(self) -> frozenset[str]:
        """Digests of their texts, as far as they are known."""
        return frozenset(each.text_digest for each in self.documents if each.text_digest)

    def holds(self, doc_id: str | None, text: str) -> bool:
        """Whether a document is on the list, by its name or by its clean text."""
        return doc_id in self.doc_ids or bool(self.text_digests and text and text_digest(text) in self.text_digests)

    def within(self, uris: Iterable[str]) -> str | None:
        """What tells one list from another as far as some files are concerned; None where it names none of theirs."""
        wanted = set(uris)
        names = {each.doc_id for each in self.documents if each.source_uri in wanted or not each.source_uri}
        # A digest: what is built without the documents does not name them.
        return f"sha256:{digest_json(sorted(names))}" if names else None

    @property
    def fingerprint(self) -> str:
        """What tells one list from another."""
        return f"sha256:{digest_json([[each.doc_id, each.text_digest] for each in sorted(set(self.documents))])}"


NOTHING_FORGOTTEN = Forgotten()


class _Place(Protocol):
    uri: str

    def read(self, path: str) -> bytes | None: ...

    def write(self, path: str, content: bytes) -> None: ...

    def names(self, folder: str) -> list[str]: ...


def text_digest(text: str) -> str:
    """Digest of a document's clean text, 32 hex digits; nothing of the text can be read from it.

    >>> len(text_digest("some text"))
    32
    """
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).hexdigest()


def read_forgotten(place: _Place) -> Forgotten:
    """The forget list of a store's place.

    Raises
    ------
    StoreError : a file of the list cannot be read; going on without it might bring a document back
    """
    found: set[ForgottenDocument] = set()
    for name in place.names(FORGOTTEN_FOLDER):
        if not name.endswith(_SUFFIX):
            continue
        content = place.read(f"{FORGOTTEN_FOLDER}/{name}")
        try:
            found |= {ForgottenDocument(**each) for each in json.loads(content or b"")["documents"]}
        except (ValueError, KeyError, TypeError) as error:
            raise StoreError(
                f"{place.uri}/{FORGOTTEN_FOLDER}/{name} cannot be read as a list of forgotten documents "
                f"({type(error).__name__})",
                expected="the JSON that `vecmill forget` wrote",
                todo="restore the file from a backup, or remove it and forget its documents once more",
            ) from error
    return Forgotten(tuple(sorted(found))) if found else NOTHING_FORGOTTEN


def add_forgotten(place: _Place, event_id: str, documents: Iterable[ForgottenDocument]) -> None:
    """Put documents on the list, for good."""
    documents = sorted(set(documents))
    if not documents:
        return
    content = json.dumps({"documents": [asdict(each) for each in documents]}, indent=1) + "\n"
    place.write(f"{FORGOTTEN_FOLDER}/{event_id}{_SUFFIX}", content.encode())
