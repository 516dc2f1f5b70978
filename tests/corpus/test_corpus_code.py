"""A code tree: the files git knows, comments apart from code, and code that cannot be taken apart."""

import ast
import doctest
import shutil
import subprocess
from pathlib import Path
from typing import get_args

import pytest

from reference.source_documents import documents_of
from vecmill.corpus import naming, tree
from vecmill.corpus.config import CodeLanguage, CorpusConfig
from vecmill.corpus.formats import code
from vecmill.corpus.listing import list_sources
from vecmill.corpus.record import Document
from vecmill.errors import SourceError

_PYTHON = '''#!/usr/bin/env python
"""Top."""
import os  # é why


class A:
    "Class."

    def f(self, a="no", b='x'): "é"; return "# no"  # yes

    async def g(self):
        """Long

        docstring.
        """
'''


def _config(path: Path, **settings: object) -> CorpusConfig:
    return CorpusConfig(sources=(str(path),), format="code", **settings)


def _read(path: Path, on_malformed=None, **settings: object) -> list[Document]:
    def stop(error: SourceError) -> None:
        raise error

    config = _config(path, **settings)
    return [d for file in list_sources(config) for d in documents_of(file, config, on_malformed or stop)]


def test_examples_in_docstrings():
    assert doctest.testmod(code).failed == 0


def test_every_language_has_a_syntax():
    assert set(code.SYNTAXES) | {"python"} == set(naming.LANGUAGES.values()) == set(get_args(CodeLanguage))


def test_python_is_taken_apart(tmp_path):
    (tmp_path / "a.py").write_text(_PYTHON, encoding="utf-8")
    comments, rest = _read(tmp_path)
    assert (comments.position, comments.title) == ("comments", "a.py (python)")
    words = ["usr/bin/env", "python", "Top.", "é", "why", "Class.", "é", "yes", "Long", "docstring."]
    assert comments.text.replace("/usr", "usr").split() == words
    assert rest.text == (
        'import os\nclass A:\n    def f(self, a="no", b=\'x\'): ; return "# no"\n    async def g(self):\n'
    )
    assert [d.position for d in _read(tmp_path, code_parts=("code",))] == ["code"]


def test_the_code_of_python_files_is_the_same_program():
    source = Path(code.__file__).read_text(encoding="utf-8")
    bare = ast.parse(source)
    for node in ast.walk(bare):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
    # Each body here is more than its docstring, so that what is left still is Python.
    assert ast.dump(ast.parse(code.split_python(source)[1])) == ast.dump(bare)


@pytest.mark.parametrize(
    ("name", "source", "comments", "rest"),
    [
        ("a.c", '/** Doc\n * more\n **/\nchar q = \'"\'; // end\nx = "a\\"// no";', "Doc\nmore\nend", 2),
        ("a.rs", "/// Says.\nfn f<'a>(x: &'a str) {} // why", "Says.\nwhy", 1),
        ("a.js", "let a = `// no\n/* no */`; /* yes */", "yes", 2),
        ("a.sql", "select '--no' -- yes\n/* open", "yes\nopen", 1),
        ("a.lua", "--[[ long\none ]] x = 1 -- short", "long\none\nshort", 1),
        ("a.sh", "echo '# no' # yes\n", "yes", 1),
        ("a.hs", "{- a -} f = 1 -- b", "a\nb", 1),
    ],
)
def test_other_languages(tmp_path, name, source, comments, rest):
    (tmp_path / name).write_text(source)
    found, left = _read(tmp_path)
    assert found.text == comments
    assert len(left.text.splitlines()) == rest
    assert "yes" not in left.text
    assert "no" not in found.text


def test_python_that_cannot_be_parsed(tmp_path):
    (tmp_path / "a.py").write_text("print 'old'\n")
    (tmp_path / "b.py").write_text("x = '\\d'\n")
    with pytest.raises(SourceError, match=r"a\.py, whole file: not Python that can be parsed \(Missing parentheses"):
        _read(tmp_path)
    skipped: list[SourceError] = []
    assert [d.text for d in _read(tmp_path, skipped.append)] == ["x = '\\d'\n"]
    assert len(skipped) == 1
    (tmp_path / "a.py").write_text("(" * 5000)
    with pytest.raises(SourceError, match="not Python that can be parsed"):
        _read(tmp_path)


def test_a_name_without_a_language(tmp_path):
    (tmp_path / "Makefile").write_text("all:")
    with pytest.raises(SourceError, match=r"Makefile does not say its programming language. Expected: a name ending"):
        _read(tmp_path / "Makefile")
    (tmp_path / "big.py").write_text("x = 1\n" * 200_000)
    with pytest.raises(SourceError, match=r"big\.py, whole file: a document is larger than 1 MiB"):
        _read(tmp_path, max_document_mib=1)


def _tree(folder: Path) -> None:
    for name in ("pkg/__init__.py", "pkg/_private.py", "a.rs", "README.md", ".venv/lib.py", "build/made.py", "new.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x = 1\n")
    (folder / ".gitignore").write_text("build/\n")


def test_a_folder_that_git_does_not_know(tmp_path):
    _tree(tmp_path)
    names = [file.name for file in list_sources(_config(tmp_path))]
    assert names == ["a.rs", "build/made.py", "new.py", "pkg/__init__.py", "pkg/_private.py"]
    assert [file.name for file in list_sources(_config(tmp_path, code_languages=("rust",)))] == ["a.rs"]


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_a_working_tree(tmp_path, monkeypatch):
    _tree(tmp_path)
    alarm = tmp_path / "alarm"
    git = ["git", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "pkg", "a.rs"], check=True)
    subprocess.run([*git, "config", "core.fsmonitor", f"touch {alarm}; false"], check=True)
    (tmp_path / "a.rs").unlink()
    names = [file.name for file in list_sources(_config(tmp_path))]
    assert names == ["new.py", "pkg/__init__.py", "pkg/_private.py"]
    assert [file.name for file in list_sources(_config(tmp_path / "pkg"))] == ["__init__.py", "_private.py"]
    assert not alarm.exists()
    monkeypatch.setenv("PATH", "")
    assert tree.files_known_to_git(tmp_path) is None
    assert "build/made.py" in [file.name for file in list_sources(_config(tmp_path))]
