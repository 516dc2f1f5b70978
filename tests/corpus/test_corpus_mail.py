"""Mail: bodies apart from headers, whole mailboxes in bounded memory, and messages that break the standards."""

import bz2
import gzip
import lzma
import mailbox
import tracemalloc
from email.message import EmailMessage
from pathlib import Path

import pyarrow as pa
import pytest

from reference.source_documents import documents_of
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.formats.mail import read_mbox
from vecmill.corpus.listing import SourceFile, list_sources
from vecmill.corpus.record import Document
from vecmill.errors import SourceError


def _read(path: Path, on_malformed=None, **settings: object) -> list[Document]:
    def stop(error: SourceError) -> None:
        raise error

    config = CorpusConfig(sources=(str(path),), **settings)
    return [d for file in list_sources(config) for d in documents_of(file, config, on_malformed or stop)]


def _message(subject: str, body: str, **headers: str) -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = subject
    message["From"] = "a@example.org"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content(body)
    return message


def _mixed() -> EmailMessage:
    both = _message("Grüße", "Schöne Grüße,\nFrom me\n", Message_ID="<1@example.org>")
    both.add_alternative("<p>Schöne <b>Grüße</b></p>", subtype="html")
    both.add_attachment(b"\x00\x01", maintype="application", subtype="octet-stream", filename="a.bin")
    return both


def _web_only() -> EmailMessage:
    message = EmailMessage()
    message["Subject"] = "Web"
    message["Message-ID"] = "<2@example.org>"
    message.set_content("<html><head><title>t</title></head><p>Hello &amp; bye</p></html>", subtype="html")
    return message


def test_a_mailbox_as_the_standard_library_writes_it(tmp_path):
    box = mailbox.mbox(tmp_path / "list.mbox")
    for message in (_mixed(), _web_only(), _message("Last", "one\n\nFrom here on\n", Message_ID="<3@example.org>")):
        box.add(message)
    box.close()
    documents = _read(tmp_path, id_column="Message-ID")
    assert documents == [
        Document("Schöne Grüße,\nFrom me", "message 1", "Grüße", "<1@example.org>"),
        Document("Hello & bye", "message 2", "Web", "<2@example.org>"),
        Document("one\n\nFrom here on", "message 3", "Last", "<3@example.org>"),
    ]
    assert _read(tmp_path, title_column="Message-ID")[0].title == "<1@example.org>"


@pytest.mark.parametrize("ending", ["gz", "bz2", "xz", "zst"])
def test_a_compressed_mailbox(tmp_path, ending):
    box = b"".join(b"From a@b Mon\nSubject: s%d\n\n%s\n\n" % (n, b"line\n" * 20_000) for n in range(5))
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": pa.Codec("zstd").compress}[ending]
    (tmp_path / f"a.mbox.{ending}").write_bytes(bytes(pack(box)))
    assert [(d.title, d.text.count("line")) for d in _read(tmp_path)] == [(f"s{n}", 20_000) for n in range(5)]


def test_a_single_message(tmp_path):
    (tmp_path / "a.eml").write_bytes(bytes(_mixed()))
    assert _read(tmp_path) == [Document("Schöne Grüße,\nFrom me", "whole message", "Grüße")]
    with pytest.raises(SourceError, match=r"a\.eml, whole message: no header 'X-Number'. Expected: a name"):
        _read(tmp_path, id_column="X-Number")


def test_a_file_that_is_no_mailbox(tmp_path):
    (tmp_path / "a.mbox").write_bytes(b"Subject: x\n\ntext\n")
    with pytest.raises(SourceError, match=r"a\.mbox is not a mailbox: it begins with b'Subject: x\\n'.*\.eml"):
        _read(tmp_path)
    (tmp_path / "a.mbox").write_bytes(b"")
    assert _read(tmp_path) == []


_BAD = {
    "badly encoded at byte 3 of its text": b"Content-Type: text/plain; charset=utf-8\n\nabc\xe9\n",
    "not a readable message (LookupError: unknown encoding: klingon)": b"Content-Type: text/plain; charset=klingon\n\n",
    "its text holds a NUL": b"Subject: x\n\na\0b\n",
    "a document is larger than 1 MiB": b"Subject: x\n\n" + b"x" * (2 << 20) + b"\n",
}


@pytest.mark.parametrize("found", _BAD)
def test_a_bad_message_stops_the_run_or_is_left_out(tmp_path, found):
    good = b"From a@b Mon\nSubject: s\n\nfine\n\n"
    (tmp_path / "a.mbox").write_bytes(good + b"From a@b Mon\n" + _BAD[found] + b"\n\n" + good)
    with pytest.raises(SourceError) as refusal:
        _read(tmp_path, max_document_mib=1)
    assert f"a.mbox, message 2: {found}" in str(refusal.value)
    assert "corpus.malformed=skip" in str(refusal.value)
    skipped: list[SourceError] = []
    assert [d.position for d in _read(tmp_path, skipped.append, max_document_mib=1)] == ["message 1", "message 3"]
    assert len(skipped) == 1


def test_bytes_that_no_header_explains(tmp_path):
    (tmp_path / "a.eml").write_bytes("Subject: x\n\nGrüße\n".encode("latin-1"))
    assert _read(tmp_path, encoding="latin-1")[0].text == "Grüße"
    assert _read(tmp_path, encoding_errors="replace")[0].text == "Gr\ufffd\ufffde"


def test_messages_within_messages_within_messages(tmp_path):
    nested = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(1200))
    (tmp_path / "a.eml").write_bytes(nested + b"\ntext\n")
    with pytest.raises(SourceError, match="not a readable message"):
        _read(tmp_path)


class _OneLongLine:
    """A mailbox whose one message is one line, made while it is read."""

    closed = False

    def __init__(self, n_bytes: int) -> None:
        self._head, self._n_left = b"From a@b\n\n", n_bytes

    def readable(self) -> bool:
        return True

    def flush(self) -> None: ...

    def readinto(self, buffer: memoryview) -> int:
        block = self._head or b"x" * min(len(buffer), self._n_left)
        self._n_left -= 0 if self._head else len(block)
        self._head = b""
        buffer[: len(block)] = block
        return len(block)


def test_a_line_without_end_takes_no_more_memory_than_a_message_may():
    skipped: list[SourceError] = []
    tracemalloc.start()
    documents = read_mbox(
        _OneLongLine(64 << 20), SourceFile("x", 0, "", "x", "x"), CorpusConfig(max_document_mib=1), skipped.append
    )
    assert list(documents) == []
    assert tracemalloc.get_traced_memory()[1] < 6 << 20
    tracemalloc.stop()
    assert "message 1: a document is larger than 1 MiB" in str(skipped[0])
