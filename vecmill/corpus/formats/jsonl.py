"""JSON lines: one object a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, BinaryIO

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.formats.lines import decoded_lines
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.record import Document, OnMalformed, malformed
from vecmill.errors import SourceError


def read_jsonl(
    stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[Document]:
    """Read one document a line; blank lines are passed over, a missing or null title is empty."""
    for number, line in decoded_lines(stream, file, config):
        if not line.strip():
            continue
        place = f"line {number}"
        try:
            yield _document(line, place, file, config)
        except SourceError as error:
            on_malformed(error)


def _document(line: str, place: str, file: SourceFile, config: CorpusConfig) -> Document:
    try:
        record = json.loads(line.rstrip("\r\n"))
    except RecursionError:
        raise malformed(file, place, "JSON nested too deeply") from None
    except json.JSONDecodeError as error:
        raise malformed(
            file, place, f"not JSON: {error.msg} at column {error.pos + 1}", "one JSON object a line"
        ) from error
    except ValueError as error:  # a number of more digits than Python converts
        raise malformed(file, place, f"not usable JSON: {error}") from error
    if not isinstance(record, dict):
        raise malformed(file, place, f"found {_kind(record)}", "a JSON object")
    title = _value(record, "title_column", config.title_column, place, file)
    explicit_id = _value(record, "id_column", config.id_column, place, file)
    text = _value(record, "text_column", config.text_column, place, file)
    if not isinstance(text, str):
        raise malformed(file, place, f"{config.text_column!r} is {_kind(text)}", "a string")
    if title is not None and not isinstance(title, str):
        raise malformed(file, place, f"{config.title_column!r} is {_kind(title)}", "a string or null")
    if config.id_column and (
        isinstance(explicit_id, bool) or not isinstance(explicit_id, str | int) or explicit_id == ""
    ):
        raise malformed(
            file, place, f"{config.id_column!r} is {_kind(explicit_id)}", "a string that is not empty, or an integer"
        )
    return Document(text, place, title or "", "" if explicit_id is None else str(explicit_id))


def _value(record: dict[str, Any], option: str, key: str | None, place: str, file: SourceFile) -> Any:
    if key is None:
        return None
    if key not in record:
        near = get_close_matches(key, record, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise SourceError(
            f"{file.uri}, {place}: no key {key!r}; found {', '.join(map(repr, record)) or 'none'}",
            todo=f"{hint}set corpus.{option} to a key found, or leave such records out with corpus.malformed=skip",
        )
    return record[key]


def _kind(value: Any) -> str:
    return {
        dict: "an object",
        list: "a list",
        str: "a string" if value else "an empty string",
        bool: "a boolean",
        int: "a number",
        float: "a number",
    }.get(type(value), "null")
