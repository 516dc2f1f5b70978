"""The corpus section of the configuration: what it refuses, and that no secret is ever shown."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from vecmill.config.base import key_config
from vecmill.corpus.config import CorpusConfig


@pytest.mark.parametrize(
    "options",
    [
        {"key": "AKIA"},
        {"secret": "hush"},
        {"token": "hush"},
        {"password": "hush"},
        {"aws_secret_access_key": "hush"},
        {"client_kwargs": {"aws_access_key_id": "hush"}},
        {"nested": [{"SessionToken": "hush"}]},
        {"apikey": "hush"},
    ],
)
def test_credentials_in_storage_options_are_refused_and_not_shown(options):
    with pytest.raises(ValidationError) as refusal:
        CorpusConfig(storage_options=options)
    message = str(refusal.value)
    assert "looks like a credential" in message
    assert "AWS_SECRET_ACCESS_KEY" in message
    assert "hush" not in message
    assert "AKIA" not in message


@pytest.mark.parametrize("source", ["s3://AKIA:hush@bucket/x.txt", "https://h/x.txt?X-Amz-Signature=hush"])
def test_credentials_in_a_url_are_refused_and_not_shown(source):
    with pytest.raises(ValidationError) as refusal:
        CorpusConfig(sources=("a.txt", source))
    assert "source 1 carries credentials in its URL" in str(refusal.value)
    assert "hush" not in str(refusal.value)


def test_globs_in_urls_are_no_credentials():
    assert CorpusConfig(sources=("s3://bucket/a?[0-9]/*.txt", "me@home.txt")).sources


def test_storage_options_do_not_change_the_key():
    plain = CorpusConfig()
    assert key_config(plain) == key_config(CorpusConfig(storage_options={"anon": True, "endpoint_url": "http://h"}))
    assert key_config(plain) != key_config(CorpusConfig(encoding="latin-1"))


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("encoding", "utf-88", "no text encoding is called 'utf-88'"),
        ("encoding", "rot13", "no text encoding is called 'rot13'"),
        ("sources", (), "at least 1 item"),
        ("sources", (" ",), "source 0 is empty"),
        ("cleaning", ("nfd",), "'nfc', 'html'"),
        ("format", "docx", "'mediawiki'"),
        ("csv_delimiter", ";;", "at most 1 character"),
    ],
)
def test_refused_values(field, value, message):
    with pytest.raises(ValidationError, match=message):
        CorpusConfig(**{field: value})


def test_every_field_says_what_it_is():
    assert all(field.description for field in CorpusConfig.model_fields.values())


def test_configuration_and_listing_import_nothing_heavy():
    code = (
        "import sys; from vecmill.corpus.config import CorpusConfig; from vecmill.corpus.listing import list_sources;"
        "list_sources(CorpusConfig());"
        "print(sorted({'pyarrow', 'gensim', 'fsspec', 's3fs', 'numpy', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
