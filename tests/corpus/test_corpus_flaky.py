"""Storage that fails every tenth request, or for good: nothing is lost in silence, and nothing is asked for ever."""

import gzip
import io

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.documents import iter_documents
from vecmill.corpus.ingest import ingest
from vecmill.corpus.listing import list_sources
from vecmill.errors import CredentialsError, SourceError, SourceUnavailable
from vecmill.store import patience
from vecmill.store.stage import StageIO


class _Flaky(MemoryFileSystem):
    """A file system where each listing, question and read is a request, and some requests fail."""

    protocol = "flaky"
    store: dict = {}  # noqa: RUF012 (fsspec's memory file system keeps its files in its class)
    pseudo_dirs = [""]  # noqa: RUF012
    cachable = False
    # Folder by folder, as most file systems are listed.
    find = fsspec.AbstractFileSystem.find
    n_requests = 0
    every = 10
    error: Exception = ConnectionResetError("connection reset by peer")

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("flaky://", "memory://"))

    @classmethod
    def request(cls) -> None:
        cls.n_requests += 1
        if cls.n_requests % cls.every == 0:
            raise cls.error

    def info(self, path, **kwargs):
        self.request()
        return super().info(path, **kwargs)

    def ls(self, path, detail=True, **kwargs):
        self.request()
        return super().ls(path, detail, **kwargs)

    def _open(self, path, mode="rb", **kwargs):
        self.request()
        return _FlakyFile(super()._open(path, mode, **kwargs).getvalue())


class _FlakyFile(io.BytesIO):
    def read(self, size=-1):
        _Flaky.request()
        return super().read(min(size, 4096) if size > 0 else size)


def _parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": [f"row {n} {n**9}" for n in range(5000)]}), sink, row_group_size=500)
    return sink.getvalue()


_LINES = "\n".join(f"line {n} {n**9}" for n in range(20_000)).encode()


@pytest.fixture
def flaky(monkeypatch):
    fsspec.register_implementation("flaky", _Flaky, clobber=True)
    files = {f"/in/sub{n}/a.txt": f"text {n}".encode() for n in range(5)}
    files |= {"/in/b.txt.gz": gzip.compress(_LINES), "/in/c.parquet": _parquet(), "/in/d.txt": _LINES}
    plain = fsspec.filesystem("memory")
    plain.pipe({f"/flaky{path}": content for path, content in files.items()})
    monkeypatch.setattr(_Flaky, "store", {name.removeprefix("/flaky"): plain.store[name] for name in plain.store})
    monkeypatch.setattr(_Flaky, "pseudo_dirs", ["", "/in", *(f"/in/sub{n}" for n in range(5))])
    for name, value in (("n_requests", 0), ("every", 10), ("error", _Flaky.error)):
        monkeypatch.setattr(_Flaky, name, value)
    pauses: list[float] = []
    monkeypatch.setattr(patience.time, "sleep", pauses.append)
    yield pauses
    plain.rm("/flaky", recursive=True)


def _texts(output) -> list[str]:
    return [text for batch in iter_documents(output, columns=("text",)) for text in batch["text"].to_pylist()]


def test_every_tenth_request_fails_and_nothing_is_lost(flaky, monkeypatch, tmp_path):
    outputs = []
    for name, every in (("calm", 10**9), ("flaky", 10)):
        monkeypatch.setattr(_Flaky, "every", every)
        (tmp_path / name).mkdir()
        report = ingest(CorpusConfig(sources=("flaky://in",), txt_unit="line"), StageIO({}, tmp_path / name))
        outputs.append((report.metrics, _texts(tmp_path / name)))
    assert outputs[0] == outputs[1]
    assert len(outputs[1][1]) == 45_005
    assert _Flaky.n_requests > 100
    assert flaky
    assert set(flaky) <= set(patience.PAUSES_SECONDS)


@pytest.mark.parametrize("source", ["flaky://in/*/*.txt", "flaky://in/**/*.txt", "flaky://in"])
def test_a_folder_that_cannot_be_listed_is_not_left_out(flaky, monkeypatch, source):
    config = CorpusConfig(sources=(source,))
    whole = [file.uri for file in list_sources(config)]
    assert len(whole) >= 5
    for every in range(3, 14):
        monkeypatch.setattr(_Flaky, "every", every)
        monkeypatch.setattr(_Flaky, "n_requests", 0)
        try:
            assert [file.uri for file in list_sources(config)] == whole
        except SourceUnavailable as error:
            assert every < 12
            assert source in str(error)


def test_storage_that_stays_away_is_said_after_four_tries(flaky, monkeypatch):
    monkeypatch.setattr(_Flaky, "every", 1)
    with pytest.raises(SourceUnavailable, match=r"cannot reach the storage of flaky://in/d\.txt.*connection reset"):
        list_sources(CorpusConfig(sources=("flaky://in/d.txt",)))
    assert flaky == list(patience.PAUSES_SECONDS)


def test_what_will_not_pass_is_asked_once(flaky, monkeypatch):
    with pytest.raises(SourceError, match=r"flaky://in/none\.txt does not exist"):
        list_sources(CorpusConfig(sources=("flaky://in/none.txt",)))
    monkeypatch.setattr(_Flaky, "every", 1)
    monkeypatch.setattr(_Flaky, "error", PermissionError("no"))
    with pytest.raises(CredentialsError, match=r"access to flaky://in/d\.txt was refused"):
        list_sources(CorpusConfig(sources=("flaky://in/d.txt",)))
    assert flaky == []


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (TimeoutError("slow"), True),
        (OSError(16, "Please reduce your request rate"), True),
        (type("ClientPayloadError", (Exception,), {})("cut"), True),
        (type("ClientResponseError", (Exception,), {"status": 503})("busy"), True),
        (type("ClientResponseError", (Exception,), {"status": 404})("none"), False),
        (type("ClientError", (Exception,), {"response": {"Error": {"Code": "SlowDown"}}})("slow"), True),
        (type("ClientError", (Exception,), {"response": {"ResponseMetadata": {"HTTPStatusCode": 500}}})("x"), True),
        (type("ClientError", (Exception,), {"response": {"Error": {"Code": "AccessDenied"}}})("no"), False),
        (FileNotFoundError("x"), False),
        (OSError(28, "No space left"), False),
        (ValueError("bug"), False),
    ],
)
def test_what_may_pass(error, passes):
    assert patience.may_pass(error) is passes
