"""From sources to files: order, duplicates, names, fingerprints, and every way of finding nothing."""

import doctest
import hashlib
import os
from pathlib import Path

import fsspec
import pytest

from vecmill.corpus import naming
from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.listing import list_sources
from vecmill.errors import SourceError


def _write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def _list(*sources: object, **settings: object):
    return list_sources(CorpusConfig(sources=tuple(map(str, sources)), **settings))


def test_examples_in_docstrings():
    assert doctest.testmod(naming).failed == 0


def test_builtin_sample_is_found_and_spelled_without_its_place():
    files = _list("builtin:enwiki-sample")
    assert [file.uri.split("/")[0] for file in files] == ["builtin:enwiki-sample"] * len(files)
    assert sum(file.n_bytes for file in files) > 1_500_000
    with pytest.raises(SourceError, match=r"unknown built-in source 'builtin:text8'. Expected: one of enwiki-sample"):
        _list("builtin:text8")


def test_overlapping_sources_give_each_file_once_in_order(tmp_path):
    _write(tmp_path, "b.txt", "a.txt", "sub/c.jsonl")
    files = _list(tmp_path, tmp_path / "*.txt", tmp_path / "sub" / ".." / "b.txt")
    assert [file.name for file in files] == ["a.txt", "b.txt", "sub/c.jsonl"]
    assert [file.uri for file in files] == sorted(file.uri for file in files)
    assert [file.name for file in _list(tmp_path / "*.txt", tmp_path)] == ["a.txt", "b.txt", "sub/c.jsonl"]


def test_a_symbolic_link_is_the_file_it_points_to(tmp_path):
    _write(tmp_path, "a.txt")
    (tmp_path / "link.txt").symlink_to("a.txt")
    assert len(_list(tmp_path)) == 1


def test_folder_takes_what_it_knows_and_leaves_bookkeeping(tmp_path):
    _write(
        tmp_path, "a.txt", "b.TXT.gz", "README", "c.bin", ".hidden.txt", "_SUCCESS.txt", "_temporary/d.txt", "e/f.csv"
    )
    assert [file.name for file in _list(tmp_path)] == ["a.txt", "b.TXT.gz", "e/f.csv"]
    assert "README" in [file.name for file in _list(tmp_path, format="txt")]


def test_globs_cross_folders_only_with_two_stars(tmp_path):
    _write(tmp_path, "x/a.txt", "x/y/b.txt")
    assert [file.name for file in _list(tmp_path / "*" / "*.txt")] == ["x/a.txt"]
    assert [file.name for file in _list(tmp_path / "**" / "*.txt")] == ["x/a.txt", "x/y/b.txt"]


def test_a_file_named_like_a_glob_is_taken_as_it_stands(tmp_path):
    _write(tmp_path, "a[1].txt", "a1.txt")
    assert [file.name for file in _list(tmp_path / "a[1].txt")] == ["a[1].txt"]


def test_names_do_not_depend_on_where_the_folder_lies(tmp_path):
    _write(tmp_path, "here/x/a.txt", "there/x/a.txt")
    for source in ("", "x/a.txt", "x/*.txt"):
        here, there = (_list(tmp_path / place / source)[0].name for place in ("here", "there"))
        assert here == there


def test_equal_names_are_told_apart_by_their_folders(tmp_path):
    _write(tmp_path, "2023/en/a.txt", "2024/en/a.txt", "2024/en/b.txt")
    files = _list(tmp_path / "2023/en", tmp_path / "2024/en")
    assert [file.name for file in files] == ["2023/en/a.txt", "2024/en/a.txt", "b.txt"]


def test_fingerprints_follow_the_content(tmp_path, monkeypatch):
    _write(tmp_path, "a.txt")
    before = _list(tmp_path / "a.txt")[0]
    assert before.fingerprint == "sha256:" + hashlib.sha256(b"a.txt").hexdigest()
    (tmp_path / "a.txt").write_text("a.tyt")
    assert _list(tmp_path / "a.txt")[0].fingerprint != before.fingerprint
    files = list_sources(CorpusConfig(sources=(str(tmp_path),)), file_digest=lambda path: f"<{path.name}>")
    assert files[0].fingerprint == "sha256:<a.txt>"
    monkeypatch.chdir(tmp_path)
    assert _list("a.txt")[0].uri == "a.txt"


def test_file_urls_and_memory_urls(tmp_path):
    _write(tmp_path, "a.txt")
    assert _list(f"file://{tmp_path}/a.txt")[0].is_local
    memory = fsspec.filesystem("memory")
    memory.pipe({"/listing/x/a.txt": b"one", "/listing/x/_tmp/b.txt": b"two", "/listing/c.txt": b"three"})
    try:
        (file,) = _list("memory://listing/x")
        assert (file.uri, file.name, file.n_bytes) == ("memory://listing/x/a.txt", "a.txt", 3)
        assert file.fingerprint == "sha256:" + hashlib.sha256(b"one").hexdigest()
        assert [file.name for file in _list("memory://listing/*.txt")] == ["c.txt"]
        assert [file.name for file in _list("memory://listing/c.txt")] == ["c.txt"]
        with pytest.raises(SourceError, match=r"memory://listing/none.txt does not exist"):
            _list("memory://listing/none.txt")
        with pytest.raises(SourceError, match=r"no file matches 'memory://listing/\*.csv'"):
            _list("memory://listing/*.csv")
    finally:
        memory.rm("/listing", recursive=True)


def test_nothing_to_read(tmp_path):
    _write(tmp_path, "data.bin", "empty/README")
    with pytest.raises(SourceError, match=r"gone\.txt does not exist\. What to do: check the path"):
        _list(tmp_path / "gone.txt")
    with pytest.raises(SourceError, match=r"no file matches .*\*\.csv'\. What to do: check the pattern"):
        _list(tmp_path / "*.csv")
    with pytest.raises(
        SourceError, match=r"the folder .*empty holds no file to read\. Expected: files ending in \.txt"
    ):
        _list(tmp_path / "empty")
    for source in (tmp_path / "data.bin", tmp_path / "*.bin"):
        with pytest.raises(SourceError, match=r"data\.bin does not say its format.*corpus\.format"):
            _list(source)
    assert _list(tmp_path / "data.bin", format="txt")
    with pytest.raises(SourceError, match=r"cannot open nosuch://x/a.txt"):
        _list("nosuch://x/a.txt")


def test_a_pipe_is_no_source(tmp_path):
    os.mkfifo(tmp_path / "pipe.txt")
    with pytest.raises(SourceError, match=r"pipe\.txt is not a regular file"):
        _list(tmp_path / "pipe.txt")


def test_unreadable_files_and_folders(tmp_path, unprivileged):
    _write(tmp_path, "closed.txt", "locked/a.txt")
    (tmp_path / "closed.txt").chmod(0)
    (tmp_path / "locked").chmod(0)
    with unprivileged(tmp_path):
        with pytest.raises(
            SourceError, match=r"cannot read .*closed\.txt \(Permission denied\).*check the permissions"
        ):
            _list(tmp_path / "closed.txt")
        with pytest.raises(SourceError, match=r"cannot read .*locked \(Permission denied\)"):
            _list(tmp_path / "locked")
    (tmp_path / "locked").chmod(0o755)
