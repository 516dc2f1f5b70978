"""Every format, bare and compressed: the documents that come out, and the messages for what is wrong with a file."""

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import get_args

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reference.source_documents import documents_of
from vecmill.corpus.config import CorpusConfig, SourceFormat
from vecmill.corpus.listing import SourceFile, list_sources
from vecmill.corpus.record import Document
from vecmill.corpus.sources import ENTRIES, READERS
from vecmill.errors import SourceError


def _zstd(data: bytes) -> bytes:
    return pa.Codec("zstd").compress(data, asbytes=True)


def _xz(data: bytes) -> bytes:
    return lzma.compress(data, preset=0)


_COMPRESS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": _xz, ".zst": _zstd}


def _stop(error: SourceError) -> None:
    raise error


def _read(path: Path, **settings: object) -> list[Document]:
    config = CorpusConfig(sources=(str(path),), **settings)
    return [document for file in list_sources(config) for document in documents_of(file, config, _stop)]


def _refusal(path: Path, content: bytes, **settings: object) -> str:
    path.write_bytes(content)
    with pytest.raises(SourceError) as refusal:
        _read(path, **settings)
    message = str(refusal.value)
    assert str(path) in message
    assert refusal.value.exit_code == 2
    return message


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


_ROWS = [("1", "Böring", 'He said "no",\nthen left.'), ("2", "", "Second text"), ("3", "T", "Third")]
_DUMP = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/">'
    + "".join(
        f"<page><title>{title}</title><ns>0</ns><id>{row_id}</id><revision><text>{text}</text></revision></page>\n"
        for row_id, title, text in _ROWS
    )
    + "</mediawiki>"
)


def _table(delimiter: str) -> bytes:
    sink = io.StringIO()
    csv.writer(sink, delimiter=delimiter).writerows([("id", "title", "text"), *_ROWS])
    return sink.getvalue().encode()


_CONTENT = {
    "jsonl": "\n".join(json.dumps(dict(zip(("id", "title", "text"), row, strict=True))) for row in _ROWS).encode(),
    "csv": _table(","),
    "tsv": _table("\t"),
    "parquet": _parquet(pa.table(list(zip(*_ROWS, strict=True)), names=["id", "title", "text"])),
    "xml": _DUMP.encode(),
}


@pytest.mark.parametrize("compression", _COMPRESS)
@pytest.mark.parametrize("ending", _CONTENT)
def test_every_format_in_every_compression_gives_the_same_documents(tmp_path, ending, compression):
    path = tmp_path / f"data.{ending}{compression}"
    path.write_bytes(_COMPRESS[compression](_CONTENT[ending]))
    documents = _read(path, id_column="id", title_column="title")
    assert [(document.explicit_id, document.title, document.text) for document in documents] == _ROWS
    assert len({document.position for document in documents}) == len(_ROWS)


@pytest.mark.parametrize("compression", _COMPRESS)
def test_text_files(tmp_path, compression):
    path = tmp_path / f"story.part1.txt{compression}"
    path.write_bytes(_COMPRESS[compression]("\ufeffÉin Satz.\r\n\r\n\nZwei\nDrei".encode()))
    assert _read(path) == [Document("Éin Satz.\r\n\r\n\nZwei\nDrei", "whole file", "story")]
    lines = _read(path, txt_unit="line")
    assert [(line.position, line.text) for line in lines] == [
        ("line 1", "Éin Satz."),
        ("line 2", ""),
        ("line 3", ""),
        ("line 4", "Zwei"),
        ("line 5", "Drei"),
    ]
    paragraphs = _read(path, txt_unit="paragraph")
    assert [(p.position, p.text) for p in paragraphs] == [("line 1", "Éin Satz."), ("line 4", "Zwei\nDrei")]


def test_every_format_has_a_reader():
    assert set(READERS) | set(ENTRIES) == set(get_args(SourceFormat))


@pytest.mark.parametrize("compression", [".gz", ".bz2", ".xz", ".zst"])
def test_compressed_files_of_several_parts_are_read_to_the_end(tmp_path, compression):
    path = tmp_path / f"log.txt{compression}"
    parts = [f"part {number}\n" * 5000 for number in range(3)]
    path.write_bytes(b"".join(_COMPRESS[compression](part.encode()) for part in parts))
    assert _read(path)[0].text == "".join(parts)


@pytest.mark.parametrize("compression", [".gz", ".bz2", ".xz", ".zst"])
@pytest.mark.parametrize("keep", [0.5, 0.98])
def test_cut_off_compressed_files(tmp_path, compression, keep):
    whole = _COMPRESS[compression](" ".join(str(n * n) for n in range(200_000)).encode())
    message = _refusal(tmp_path / f"a.txt{compression}", whole[: int(len(whole) * keep)])
    assert f"is cut off: its {compression[1:]} stream ends in the middle. What to do: fetch the file again" in message


@pytest.mark.parametrize("compression", [".gz", ".bz2", ".xz", ".zst"])
def test_files_that_are_not_compressed_as_their_name_says(tmp_path, compression):
    message = _refusal(tmp_path / f"a.txt{compression}", b"just text, and some more of it")
    assert f"is not a sound {compression[1:]} file" in message


@pytest.mark.parametrize("compression", _COMPRESS)
def test_bytes_read_are_counted_up_to_the_size_of_the_file(tmp_path, compression):
    for ending, content in _CONTENT.items():
        path = tmp_path / f"data.{ending}{compression}"
        path.write_bytes(_COMPRESS[compression](content))
        config = CorpusConfig(sources=(str(path),))
        counted: list[int] = []
        assert list(documents_of(list_sources(config)[0], config, _stop, counted.append))
        assert sum(counted) == path.stat().st_size


def test_columns_that_nobody_asked_for_are_counted_too(tmp_path):
    path = tmp_path / "a.parquet"
    path.write_bytes(_parquet(pa.table({"text": ["x"] * 500_000, "other": range(500_000)})))
    config = CorpusConfig(sources=(str(path),))
    counted: list[int] = []
    assert sum(1 for _ in documents_of(list_sources(config)[0], config, _stop, counted.append)) == 500_000
    assert sum(counted) == path.stat().st_size


@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50))
def test_line_formats_give_back_any_text(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("lines")
    (folder / "a.jsonl").write_text(json.dumps({"text": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    with (folder / "b.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, quoting=csv.QUOTE_ALL).writerows([["text"], [text]])
    assert [document.text for document in _read(folder)] == [text, text]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252", "shift-jis"])
def test_encodings_across_block_borders(tmp_path, encoding):
    letters = {"shift-jis": "日本", "latin-1": "é£", "cp1252": "é€"}.get(encoding, "é€🙂")
    text = (f"x{letters * 30}\n") * 9_001
    (tmp_path / "a.txt").write_bytes(text.encode(encoding))
    assert "".join(f"{line.text}\n" for line in _read(tmp_path / "a.txt", txt_unit="line", encoding=encoding)) == text


@pytest.mark.parametrize("n_before", [0, 5, (1 << 18) - 1, (1 << 18) + 7])
def test_badly_encoded_text_names_the_byte(tmp_path, n_before):
    path = tmp_path / "a.txt"
    message = _refusal(path, b"x" * n_before + "é".encode("latin-1") + b" end")
    assert f"is badly encoded at byte {n_before} (e9): invalid continuation byte. Expected: utf-8 text" in message
    assert "corpus.encoding_errors=replace" in message
    assert _read(path, encoding_errors="replace")[0].text == "x" * n_before + "\ufffd end"


def test_a_character_cut_off_at_the_end_of_the_file(tmp_path):
    message = _refusal(tmp_path / "a.txt", b"abc" + "🙂".encode()[:-1])
    assert "is badly encoded at byte 3 (f0 9f 99): unexpected end of data" in message
    message = _refusal(tmp_path / "b.txt", "abc".encode("utf-16-be")[:-1], encoding="utf-16-be")
    assert "is badly encoded at byte 4" in message
    assert "utf-16 text" in _refusal(tmp_path / "c.txt", b"no byte order mark", encoding="utf-16")


@pytest.mark.parametrize("ending", ["txt", "csv", "jsonl"])
def test_binary_files(tmp_path, ending):
    message = _refusal(tmp_path / f"a.{ending}", b"text\n\0\0more")
    assert "is binary: it holds a NUL at character 5. Expected: utf-8 text. What to do: set corpus.encoding" in message


def test_documents_beyond_the_limit_are_refused_in_bounded_memory(tmp_path):
    settings = {"max_document_mib": 1}
    long = "word " * 250_000
    assert "line 2: a document is larger than 1 MiB" in _refusal(
        tmp_path / "a.jsonl", b'{"text": "x"}\n' + long.encode(), **settings
    )
    message = _refusal(tmp_path / "a.txt", long.encode(), **settings)
    assert "make lines or paragraphs the documents with corpus.txt_unit, or raise corpus.max_document_mib" in message
    message = _refusal(tmp_path / "b.txt", b"short\n\n" + b"a line\n" * 200_000, txt_unit="paragraph", **settings)
    assert "line 3: a document is larger than 1 MiB" in message
    dump = _DUMP.replace("Third", long)
    assert "a page of the dump: a document is larger" in _refusal(tmp_path / "a.xml", dump.encode(), **settings)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"text": "a"', "line 2: not JSON: Expecting ',' delimiter at column 13. Expected: one JSON object a line"),
        ("[1]", "line 2: found a list. Expected: a JSON object"),
        ('{"text": null}', "line 2: 'text' is null. Expected: a string"),
        ('{"text": 5}', "line 2: 'text' is a number. Expected: a string"),
        ('{"text": "a", "title": []}', "line 2: 'title' is a list. Expected: a string or null"),
        ('{"text": "\\ud800"}', "line 2: lone surrogate '\\ud800' at character 0. Expected: Unicode text"),
        ("[" * 100_000, "line 2: JSON nested too deeply"),
        ('{"text": ' + "9" * 5000 + "}", "line 2: not usable JSON"),
    ],
)
def test_malformed_json_lines(tmp_path, line, message):
    content = '{"text": "good", "title": null}\n' + line + '\n\n{"text": "after", "title": "t"}\n'
    if '"title"' not in line:
        content = content.replace(', "title": null', "").replace(', "title": "t"', "")
    settings = {"title_column": "title"} if '"title"' in line else {}
    found = _refusal(tmp_path / "a.jsonl", content.encode(), **settings)
    assert message in found
    assert "corpus.malformed=skip" in found
    config = CorpusConfig(sources=(str(tmp_path / "a.jsonl"),), **settings)
    skipped: list[SourceError] = []
    documents = list(documents_of(list_sources(config)[0], config, skipped.append))
    assert [document.text for document in documents] == ["good", "after"]
    assert message in str(skipped[0])


def test_json_keys_and_ids(tmp_path):
    path = tmp_path / "a.jsonl"
    message = _refusal(path, b'{"body": "x", "texts": "y"}')
    assert (
        "line 1: no key 'text'; found 'body', 'texts'. What to do: did you mean 'texts'? set corpus.text_column"
        in message
    )
    assert "no key 'text'; found none" in _refusal(path, b"{}")
    for value in ("null", '""', "true", "1.5"):
        assert "'id' is" in _refusal(path, f'{{"text": "x", "id": {value}}}'.encode(), id_column="id")
    path.write_text('{"text": "x", "id": 7}')
    assert _read(path, id_column="id")[0].explicit_id == "7"


def test_tables_with_faults(tmp_path):
    path = tmp_path / "a.csv"
    message = _refusal(path, b"id,Text,body\n1,x,y\n")
    assert "line 1: no column 'text'; found 'id', 'Text', 'body'. What to do: did you mean 'Text'?" in message
    message = _refusal(path, b'id,text\n1,"two\nlines"\n2\n3,x\n')
    assert "line 4: found 1 cell. Expected: 2 cells, as in the header line" in message
    assert "line 2: found 3 cells" in _refusal(path, b"id,text\n1,a,b\n")
    message = _refusal(path, b'text\n"fine"\n"never closed\nmore\n')
    assert "record that begins at line 3: unexpected end of data (line 4)" in message
    assert "begins at line 2: ',' expected after '\"'" in _refusal(path, b'text\n"a"b\n')
    assert "has no header line" in _refusal(path, b"")
    assert "'text' is the name of several columns" in _refusal(path, b"text,text\na,b\n")
    assert "'id' is empty" in _refusal(path, b"id,text\n,b\n", id_column="id")
    assert "no column 'text'" in _refusal(path, b"id;text\n1;b\n")
    assert _read(path, csv_delimiter=";")[0].text == "b"


def test_cells_may_be_longer_than_the_csv_module_allows_by_itself(tmp_path):
    (tmp_path / "a.csv").write_text("text\n" + "x" * 300_000 + "\n")
    assert len(_read(tmp_path / "a.csv")[0].text) == 300_000


def test_parquet_with_faults(tmp_path):
    path = tmp_path / "a.parquet"
    message = _refusal(path, _parquet(pa.table({"Text": ["a"], "n": [1]})))
    assert "schema: no column 'text'; found 'Text', 'n'. What to do: did you mean 'Text'?" in message
    assert "column 'text' is int64. Expected: string" in _refusal(path, _parquet(pa.table({"text": [1]})))
    message = _refusal(path, _parquet(pa.table({"text": ["a", None]})))
    assert "row 1: 'text' is null. Expected: a string" in message
    sound = _parquet(pa.table({"text": [str(n) for n in range(5000)]}))
    assert "is not a sound Parquet file" in _refusal(path, sound[:-100])
    assert "is not a sound Parquet file" in _refusal(path, b"text")
    assert "is not a sound Parquet file" in _refusal(path, sound[:200] + b"\xff" * 2000 + sound[2200:])
    message = _refusal(path, _parquet(pa.table({"text": ["a"], "id": [1.5]})), id_column="id")
    assert "column 'id' is double. Expected: string or integer" in message


def test_parquet_kinds_of_strings_and_row_groups(tmp_path):
    texts = [f"text {n}" for n in range(10_000)]
    columns = {
        "plain": pa.array(texts),
        "large": pa.array(texts, pa.large_string()),
        "coded": pa.array(texts).dictionary_encode(),
    }
    pq.write_table(pa.table({**columns, "id": range(10_000)}), tmp_path / "a.parquet", row_group_size=999)
    for column in columns:
        documents = _read(tmp_path / "a.parquet", text_column=column, id_column="id")
        assert [document.text for document in documents] == texts
        assert documents[-1].explicit_id == "9999"
        assert documents[-1].position == "row 9999"


def test_a_source_that_goes_or_changes_between_listing_and_reading(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("first")
    config = CorpusConfig(sources=(str(path),), txt_unit="line")
    (file,) = list_sources(config)
    path.write_text("longer than before")
    with pytest.raises(SourceError, match=r"a\.txt changed between being listed and being read"):
        list(documents_of(file, config, _stop))
    path.unlink()
    with pytest.raises(SourceError, match=r"cannot read .*a\.txt \(No such file or directory\); it was there when"):
        list(documents_of(file, config, _stop))
    path.write_text("one\ntwo")
    reading = documents_of(list_sources(config)[0], config, _stop)
    next(reading)
    path.write_text("one\ntwo\nthree")
    with pytest.raises(SourceError, match="changed between"):
        list(reading)
    missing = SourceFile("memory://no/a.txt", 1, "", "a.txt", "memory://no/a.txt")
    with pytest.raises(SourceError, match=r"memory://no/a.txt does not exist"):
        list(documents_of(missing, config, _stop))
