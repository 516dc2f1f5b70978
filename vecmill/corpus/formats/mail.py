"""Mail: a mailbox (mbox, RFC 4155) of many messages, or a file (eml, RFC 5322) with one.

The text of a message is its body; the headers stay apart, but for the one that is its title and the one that names it.
Attachments are left out. Of a body that is there as plain text and as HTML the plain text is read.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from email import message_from_bytes
from email.errors import MessageError
from email.message import EmailMessage
from email.policy import default
from typing import Any, BinaryIO, cast

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.formats.html import html_text
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.record import Document, OnMalformed, malformed, too_large
from vecmill.errors import SourceError

# Longer lines are read in pieces of this size, so that a line without end takes no more memory than a message may.
_PIECE_BYTES = 1 << 16
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
# What the standard library's parser of headers and bodies is known to raise on messages that break the standards.
_UNREADABLE = (MessageError, LookupError, ValueError, AttributeError, TypeError, RecursionError)
_POLICIES = {"error": "strict", "replace": "replace"}


def read_mbox(
    stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[Document]:
    """Read each message of a mailbox; one begins at a line "From " that stands first or after an empty line.

    Memory holds one message. A message larger than the largest document counts as malformed.

    Raises
    ------
    SourceError : the file does not begin like a mailbox
    """
    for number, raw in enumerate(_messages(stream, file, config), 1):
        place = f"message {number}"
        try:
            if raw is None:
                raise too_large(file, place, config, "leave it out with corpus.malformed=skip,")
            yield _document(_QUOTED_FROM.sub(rb"\1", raw), place, file, config)
        except SourceError as error:
            on_malformed(error)


def read_eml(stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed) -> Iterator[Document]:
    """Read a file that is one message."""
    limit = config.max_document_mib << 20
    blocks: list[bytes] = []
    n_bytes = 0
    while block := stream.read(_PIECE_BYTES):
        blocks.append(block)
        n_bytes += len(block)
        if n_bytes > limit:
            on_malformed(too_large(file, "whole message", config, "leave it out with corpus.malformed=skip,"))
            return
    try:
        yield _document(b"".join(blocks), "whole message", file, config)
    except SourceError as error:
        on_malformed(error)


def _messages(stream: BinaryIO, file: SourceFile, config: CorpusConfig) -> Iterator[bytes | None]:
    """The messages of a mailbox without their "From " lines; None for one that is too large."""
    limit = config.max_document_mib << 20
    # zstd streams read no lines, and gzip's own readline is slow.
    lines = io.BufferedReader(cast(Any, stream), 1 << 18)
    pieces: list[bytes] = []
    n_bytes = 0
    begun = False
    line_begins = after_empty = True
    try:
        while piece := lines.readline(_PIECE_BYTES):
            if line_begins and after_empty and piece.startswith(b"From "):
                if begun:
                    yield b"".join(pieces) if n_bytes <= limit else None
                pieces, n_bytes, begun = [], 0, True
                # The line may go on in the next piece; a sender and a date do not fill one.
            elif not begun:
                if piece.strip():
                    raise SourceError(
                        f"{file.uri} is not a mailbox: it begins with {piece[:40]!r}",
                        expected='a line that begins with "From ", as before each message of an mbox file',
                        todo="name a file with a single message .eml, or set corpus.format",
                    )
            else:
                n_bytes += len(piece)
                if n_bytes <= limit:
                    pieces.append(piece)
                else:
                    pieces.clear()
            after_empty = line_begins and piece in (b"\n", b"\r\n")
            line_begins = piece.endswith(b"\n")
        if begun:
            yield b"".join(pieces) if n_bytes <= limit else None
    finally:
        # Else it would close the stream, which is not ours.
        lines.detach()


def _document(raw: bytes, place: str, file: SourceFile, config: CorpusConfig) -> Document:
    try:
        message: Any = message_from_bytes(raw, _class=EmailMessage, policy=default)
        title = str(message.get(config.title_column or "Subject", ""))
        explicit_id = str(message.get(config.id_column, "")).strip() if config.id_column else ""
        text = _body(message, config)
    except UnicodeDecodeError as error:
        raise SourceError(
            f"{file.uri}, {place}: badly encoded at byte {error.start} of its text: {error.reason}",
            expected=f"{error.encoding} text",
            todo="set corpus.encoding_errors=replace, or leave such messages out with corpus.malformed=skip",
        ) from error
    except _UNREADABLE as error:
        found = f"not a readable message ({type(error).__name__}: {str(error)[:120]})"
        raise malformed(file, place, found, "a message as in RFC 5322") from error
    if config.id_column and not explicit_id:
        raise malformed(file, place, f"no header {config.id_column!r}", "a name for the document")
    if "\0" in text:
        raise malformed(file, place, "its text holds a NUL", "text")
    return Document(text, place, title, explicit_id)


def _body(message: Any, config: CorpusConfig) -> str:
    part = message.get_body(preferencelist=("plain", "html"))
    if part is None:
        return ""
    content = part.get_payload(decode=True) or b""
    # A part that names no encoding should be ASCII; the many that are not are taken as the configuration says.
    text = str(content.decode(part.get_param("charset", config.encoding), _POLICIES[config.encoding_errors]))
    if part.get_content_subtype() == "html":
        return html_text(text)[1]
    return text.replace("\r\n", "\n").strip("\n")
