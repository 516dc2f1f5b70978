"""Sources on S3, against a server that checks credentials; and what each refusal of such a server is turned into."""

import bz2
import gzip
import io
import json

import boto3
import botocore.exceptions
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reference.source_documents import documents_of
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.documents import iter_documents
from vecmill.corpus.ingest import ingest
from vecmill.corpus.listing import list_sources
from vecmill.errors import CredentialsError, SourceError, SourceUnavailable, StoreError, StoreUnavailable
from vecmill.store.remote import explain_remote_error, filesystem
from vecmill.store.stage import StageIO

pytestmark = pytest.mark.server

# Each test sees its own environment, and no test waits for a server that is not there.
_FRESH = {"skip_instance_cache": True, "config_kwargs": {"retries": {"total_max_attempts": 1}, "connect_timeout": 2}}


@pytest.fixture
def bucket(s3_server, monkeypatch, request):
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    for name, value in s3_server.items():
        monkeypatch.setenv(name, value)
    # No look at files of the machine, no question to its metadata service.
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    client = boto3.client("s3")
    name = "corpus-" + "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower())[:40].strip(
        "-"
    )
    client.create_bucket(Bucket=name)

    def put(key: str, body: bytes) -> None:
        client.put_object(Bucket=name, Key=key, Body=body)

    put.name = name
    put.client = client
    yield put
    client.close()


def _config(*sources: str, **settings) -> CorpusConfig:
    return CorpusConfig(sources=sources, storage_options=_FRESH, **settings)


def test_lists_and_reads_every_format_from_a_prefix(bucket, tmp_path):
    sink = io.BytesIO()
    pq.write_table(pa.table({"text": ["from parquet"]}), sink)
    bucket("in/a.txt", b"from text")
    bucket("in/b.jsonl.gz", gzip.compress(json.dumps({"text": "from json"}).encode()))
    bucket("in/deep/c.csv.bz2", bz2.compress(b"text\nfrom csv\n"))
    bucket("in/d.parquet", sink.getvalue())
    bucket("in/_SUCCESS", b"")
    config = _config(f"s3://{bucket.name}/in")
    files = list_sources(config)
    assert [file.name for file in files] == ["a.txt", "b.jsonl.gz", "d.parquet", "deep/c.csv.bz2"]
    assert files[0].uri == f"s3://{bucket.name}/in/a.txt"
    assert all(file.fingerprint.startswith("etag:") and '"' not in file.fingerprint for file in files)
    report = ingest(config, StageIO({}, tmp_path))
    texts = [text for batch in iter_documents(tmp_path) for text in batch["text"].to_pylist()]
    assert texts == ["from text", "from json", "from parquet", "from csv"]
    assert report.metrics["n_source_bytes"] == sum(file.n_bytes for file in files)
    assert [file.name for file in list_sources(_config(f"s3://{bucket.name}/in/*.parquet"))] == ["d.parquet"]
    assert [file.name for file in list_sources(_config(f"s3://{bucket.name}/in/a.txt"))] == ["a.txt"]


def test_ids_are_those_of_the_same_files_on_disk(bucket, tmp_path):
    bucket("in/x/a.txt", b"some text")
    (tmp_path / "in/x").mkdir(parents=True)
    (tmp_path / "in/x/a.txt").write_bytes(b"some text")
    ids = []
    for place, source in (("there", f"s3://{bucket.name}/in"), ("here", str(tmp_path / "in"))):
        (tmp_path / place).mkdir()
        ids.append(ingest(_config(source), StageIO({}, tmp_path / place)).table[0]["doc_id"])
    assert ids[0] == ids[1]


def test_new_and_changed_objects_are_seen_at_once(bucket):
    # One file system for both listings, as in a worker that lives for days.
    config = CorpusConfig(sources=(f"s3://{bucket.name}/in",))
    bucket("in/a.txt", b"one")
    before = list_sources(config)
    bucket("in/a.txt", b"two")
    bucket("in/b.txt", b"new")
    after = list_sources(config)
    assert len(after) == 2
    assert after[0].fingerprint != before[0].fingerprint


def test_listings_are_not_remembered(bucket):
    bucket("in/a.txt", b"one")
    fs, path = filesystem(f"s3://{bucket.name}/in")
    assert len(fs.ls(path)) == 1
    bucket("in/b.txt", b"new")
    assert len(filesystem(f"s3://{bucket.name}/in")[0].ls(path)) == 2


def test_an_object_that_changes_between_listing_and_reading(bucket):
    bucket("a.txt", b"one")
    config = _config(f"s3://{bucket.name}/a.txt")
    (file,) = list_sources(config)
    bucket("a.txt", b"two")
    with pytest.raises(SourceError, match=r"a\.txt changed between being listed and being read"):
        list(documents_of(file, config, lambda error: None))


def test_an_object_that_vanishes_between_listing_and_reading(bucket):
    bucket("a.txt", b"one")
    config = _config(f"s3://{bucket.name}/a.txt")
    (file,) = list_sources(config)
    bucket.client.delete_object(Bucket=bucket.name, Key="a.txt")
    with pytest.raises(SourceError, match=rf"s3://{bucket.name}/a.txt does not exist"):
        list(documents_of(file, config, lambda error: None))


def test_missing_things(bucket):
    with pytest.raises(SourceError, match=rf"s3://{bucket.name}/none.txt does not exist"):
        list_sources(_config(f"s3://{bucket.name}/none.txt"))
    with pytest.raises(SourceError, match="no file matches"):
        list_sources(_config(f"s3://{bucket.name}/none/*.txt"))
    for source in ("s3://no-such-bucket-here/a.txt", "s3://no-such-bucket-here/*.txt"):
        with pytest.raises(SourceError, match="no-such-bucket-here"):
            list_sources(_config(source))


@pytest.mark.parametrize(
    ("variable", "value"),
    [("AWS_SECRET_ACCESS_KEY", "wrong-secret"), ("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN000000000")],
)
def test_refused_credentials(bucket, monkeypatch, variable, value):
    bucket("a.txt", b"one")
    monkeypatch.setenv(variable, value)
    for source in (f"s3://{bucket.name}/a.txt", f"s3://{bucket.name}/*.txt", f"s3://{bucket.name}"):
        with pytest.raises(CredentialsError) as refusal:
            list_sources(_config(source))
        message = str(refusal.value)
        assert f"access to {source} was refused" in message
        assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in message
        assert value not in message
        assert refusal.value.exit_code == 2


def test_no_credentials(bucket, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(CredentialsError, match=rf"no credentials for s3://{bucket.name}/a.txt .*set AWS_ACCESS_KEY_ID"):
        list_sources(_config(f"s3://{bucket.name}/a.txt"))


def test_unreachable_endpoint(bucket, monkeypatch):
    # Port 9 of this machine (discard): nothing listens there.
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(
        SourceUnavailable, match=r"cannot reach the storage of s3://x/a.txt at http://127\.0\.0\.1:9 .*network"
    ):
        list_sources(_config("s3://x/a.txt"))


def test_the_endpoint_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://one")
    first, path = filesystem("s3://bucket/a/b")
    assert (first.endpoint_url, path) == ("http://one", "bucket/a/b")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://two")
    assert filesystem("s3://bucket/a/b")[0].endpoint_url == "http://two"
    assert filesystem("s3://bucket/a", {"endpoint_url": "http://three"})[0].endpoint_url == "http://three"


def _client_error(code: str, message: str = "said the server") -> Exception:
    return botocore.exceptions.ClientError({"Error": {"Code": code, "Message": message}}, "GetObject")


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (botocore.exceptions.NoCredentialsError(), CredentialsError, "no credentials for s3://b/x"),
        (_client_error("ExpiredToken"), CredentialsError, "are no longer valid"),
        (_client_error("AccessDenied"), CredentialsError, "access to s3://b/x was refused (AccessDenied"),
        (PermissionError("Forbidden"), CredentialsError, "access to s3://b/x was refused (Forbidden)"),
        (_client_error("NoSuchBucket"), StoreError, "no such bucket: b (from s3://b/x)"),
        (FileNotFoundError("b/x"), StoreError, "s3://b/x does not exist"),
        (TimeoutError("slow"), StoreUnavailable, "cannot reach the storage of s3://b/x"),
        (_client_error("SlowDown"), StoreUnavailable, "s3://b/x cannot be used (ClientError"),
    ],
)
def test_explanations(error, kind, message):
    explained = explain_remote_error(error, "s3://b/x", StoreError)
    assert type(explained) is kind
    assert message in str(explained)
    assert explain_remote_error(explained, "elsewhere") is explained


def test_a_source_that_stays_busy_is_nobodys_mistake():
    explained = explain_remote_error(OSError(16, "Please reduce your request rate"), "s3://b/x")
    assert type(explained) is SourceUnavailable
    assert "cannot be used" in str(explained)
    assert "run again later" in str(explained)


def test_explanations_hide_secrets(monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush-hush")
    error = _client_error("InternalError", "key hush-hush failed")
    assert "hush-hush" not in str(explain_remote_error(error, "s3://b/x"))
