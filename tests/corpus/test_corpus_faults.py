"""What real folders hold beside text: each fault is named with its file and place, in bounded memory, nothing lost."""

from __future__ import annotations

import gzip
import http.client
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import vecmill.corpus.batch as batch_module
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.documents import iter_documents
from vecmill.corpus.ingest import ingest
from vecmill.errors import SourceError
from vecmill.store import patience
from vecmill.store.stage import StageIO

_ONE_LINE = """
import resource, sys
from pathlib import Path
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.ingest import ingest
from vecmill.errors import SourceError
from vecmill.store.stage import StageIO

root = Path(sys.argv[1])
small = root / "small.jsonl"
(root / "warm").mkdir()
ingest(CorpusConfig(sources=(str(small),)), StageIO({}, root / "warm"))
pages = int(open("/proc/self/statm").read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (700 << 20),) * 2)
for number, name in enumerate(sys.argv[2:]):
    output = root / f"out-{number}"
    output.mkdir()
    try:
        ingest(CorpusConfig(sources=(str(root / name),), txt_unit="line"), StageIO({}, output))
    except SourceError as error:
        print(error)
"""
_FORMATS = ("txt", "jsonl", "csv", "html", "mbox")


def test_a_line_of_a_gigabyte_is_refused_under_an_address_space_limit(tmp_path):
    (tmp_path / "small.jsonl").write_text('{"text": "a document"}\n')
    # Members of a gzip file stand one after the other, so that a gigabyte is compressed in a moment.
    block = gzip.compress(b"word " * (4 << 20), compresslevel=1)
    heads = {"jsonl": b'{"text": "', "csv": b'text\n"', "mbox": b"From a@b.c Sat Jan  3 01:05:34 1998\nSubject: s\n\n"}
    for kind in _FORMATS:
        with (tmp_path / f"a.{kind}.gz").open("wb") as file:
            file.write(gzip.compress(heads.get(kind, b"")))
            file.writelines([block] * 52)
    done = subprocess.run(
        [sys.executable, "-c", _ONE_LINE, str(tmp_path), *(f"a.{kind}.gz" for kind in _FORMATS)],
        capture_output=True,
        text=True,
        check=True,
    )
    messages = done.stdout.splitlines()
    assert len(messages) == len(_FORMATS)
    for kind, message in zip(_FORMATS, messages, strict=True):
        assert message.startswith(f"{tmp_path}/a.{kind}.gz, ")
        assert "a document is larger than 64 MiB" in message
        assert "corpus.max_document_mib" in message


def _refusal(root: Path, **settings: object) -> str:
    (root / "out").mkdir(exist_ok=True)
    with pytest.raises(SourceError) as refusal:
        ingest(CorpusConfig(sources=(str(root / "in"),), **settings), StageIO({}, root / "out"))
    return str(refusal.value)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        ({"body": ["x"], "n": [1]}, "b.parquet, schema: no column 'text'; found 'body', 'n'. What to do: set corpus."),
        ({"text": [1]}, "b.parquet: column 'text' is int64. Expected: string"),
        ({"Text": ["x"]}, "b.parquet, schema: no column 'text'; found 'Text'. What to do: did you mean 'Text'?"),
    ],
)
def test_another_schema_in_the_middle_of_the_list(tmp_path, other, told):
    (tmp_path / "in").mkdir()
    for name in "abc":
        pq.write_table(pa.table(other if name == "b" else {"text": [name]}), tmp_path / f"in/{name}.parquet")
    assert told in _refusal(tmp_path)
    # A wrong table is no malformed record: all of its rows would be left out.
    assert told in _refusal(tmp_path, malformed="skip")


def test_files_in_several_encodings(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.txt").write_bytes("déjà vu".encode())
    (tmp_path / "in/b.txt").write_bytes("déjà vu".encode("latin-1"))
    (tmp_path / "in/c.txt").write_bytes("déjà vu".encode("utf-16"))
    message = _refusal(tmp_path)
    assert "in/b.txt is badly encoded at byte 1 (e9" in message
    assert "corpus.encoding_errors=replace" in message
    (tmp_path / "in/b.txt").write_bytes("déjà\n".encode() + "vu à".encode("latin-1"))
    assert "in/b.txt is badly encoded at byte 10 (e0)" in _refusal(tmp_path)
    # What is no text in the encoding at all is not read, whatever is to be done about single bytes.
    message = _refusal(tmp_path, encoding_errors="replace")
    assert "in/c.txt is binary: it holds a NUL at character 3" in message
    assert "set corpus.encoding (utf-16?)" in message
    (tmp_path / "in/c.txt").unlink()
    (tmp_path / "replaced").mkdir()
    config = CorpusConfig(sources=(str(tmp_path / "in"),), encoding_errors="replace")
    ingest(config, StageIO({}, tmp_path / "replaced"))
    assert _texts(tmp_path / "replaced") == ["déjà vu", "déjà\nvu \ufffd"]


def test_a_source_that_vanishes_while_another_is_read(tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    for name in "ab":
        (tmp_path / f"in/{name}.txt").write_text(f"text of {name}")
    read_records = batch_module.read_records

    def vanishing(*arguments):
        (tmp_path / "in/b.txt").unlink(missing_ok=True)
        return read_records(*arguments)

    monkeypatch.setattr(batch_module, "read_records", vanishing)
    message = _refusal(tmp_path)
    assert "cannot read" in message and "in/b.txt (No such file or directory)" in message
    assert "it was there when the sources were listed" in message
    assert "check that nothing moves or deletes the sources during a run" in message


def _texts(output: Path) -> list[str]:
    return [text for batch in iter_documents(output, columns=("text",)) for text in batch["text"].to_pylist()]


class _TenthFails(BaseHTTPRequestHandler):
    """Passes requests on to an S3 server; every tenth is told to slow down."""

    server: _Proxy

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            self.server.n_requests += 1
            fails = self.server.n_requests % 10 == 0
            self.server.n_failed += fails
        if fails:
            status, headers = 503, [("Content-Type", "application/xml")]
            content = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"
        else:
            upstream = http.client.HTTPConnection(self.server.upstream)
            # With its own Host: that is what the request is signed for.
            upstream.request(self.command, self.path, body, dict(self.headers))
            answer = upstream.getresponse()
            status, headers, content = answer.status, answer.getheaders(), answer.read()
            upstream.close()
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                self.send_header(name, value)
        length = {name.lower(): value for name, value in headers}.get("content-length", "0")
        self.send_header("Content-Length", length if self.command == "HEAD" and not fails else str(len(content)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = _answer

    def log_message(self, *arguments: object) -> None: ...


class _Proxy(ThreadingHTTPServer):
    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), _TenthFails)
        self.upstream = upstream
        self.lock = threading.Lock()
        self.n_requests = self.n_failed = 0


@pytest.mark.server
def test_s3_that_fails_every_tenth_request_loses_nothing(s3_server, monkeypatch, tmp_path):
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="flaky")
    for number in range(10):
        client.put_object(Bucket="flaky", Key=f"in/{number:02}.txt", Body=f"document {number}\nand more".encode())
    lines = "\n".join(f"line {number}" for number in range(5000)).encode()
    client.put_object(Bucket="flaky", Key="in/z.txt.gz", Body=gzip.compress(lines))
    client.close()
    pauses: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", pauses.append)
    proxy = _Proxy(urlsplit(s3_server["AWS_ENDPOINT_URL"]).netloc)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{proxy.server_address[1]}"
        options = {"skip_instance_cache": True, "endpoint_url": endpoint}
        # The client's own patience would hide ours.
        options["config_kwargs"] = {"retries": {"total_max_attempts": 1}}
        config = CorpusConfig(sources=("s3://flaky/in",), txt_unit="line", storage_options=options)
        (tmp_path / "out").mkdir()
        report = ingest(config, StageIO({}, tmp_path / "out"))
    finally:
        proxy.shutdown()
        proxy.server_close()
    assert proxy.n_failed >= 2
    assert len(pauses) >= proxy.n_failed
    assert report.metrics["n_read"] == report.metrics["n_kept"] == 2 * 10 + 5000
    expected = [text for number in range(10) for text in (f"document {number}", "and more")]
    assert _texts(tmp_path / "out") == [*expected, *lines.decode().split("\n")]
