"""The code closure: what changes a stage's digest, and what must not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import vecmill
from vecmill.store.closure import code_digest

FILES = {
    "vecmill/__init__.py": "",
    "vecmill/errors.py": "class Refusal(Exception): ...\n",
    "vecmill/a/__init__.py": "",
    "vecmill/a/stage.py": """
        from vecmill.a.helper import middle
        from vecmill.errors import Refusal
        import vecmill.b.tools as tools

        LIMIT = 3

        def stage(config, io):
            \"\"\"Docstring.\"\"\"
            from vecmill.b.late import late
            if LIMIT: raise Refusal("x")
            return middle(config) + tools.used() + late()

        def unrelated(): return 1
    """,
    "vecmill/a/helper.py": """
        from vecmill.a.deep import deepest as renamed

        def middle(x):
            # a comment
            return renamed(x)

        def bystander(): return 2
    """,
    "vecmill/a/deep.py": """
        TABLE = {"a": 1}
        TABLE["b"] = 2

        def deepest(x): return TABLE[x]
    """,
    "vecmill/b/__init__.py": "",
    "vecmill/b/tools.py": """
        def used(): return 1
        def unused(): return 2
    """,
    "vecmill/b/late.py": """
        class Base: size = 1
        class Child(Base): ...
        def late(): return Child().size
    """,
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    import textwrap

    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return tmp_path


def edit(tree: Path, name: str, old: str, new: str) -> None:
    path = tree / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


ROOT = ("vecmill.a.stage:stage",)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("vecmill/a/stage.py", "LIMIT = 3", "LIMIT = 4"),
        ("vecmill/a/helper.py", "return renamed(x)", "return renamed(x) + 1"),
        ("vecmill/a/deep.py", "return TABLE[x]", "return TABLE[x] * 2"),
        ("vecmill/a/deep.py", '["b"] = 2', '["b"] = 3'),
        ("vecmill/b/tools.py", "used(): return 1", "used(): return 7"),
        ("vecmill/b/late.py", "size = 1", "size = 2"),
        ("vecmill/b/late.py", "Child(Base): ...", "Child(Base): other = 1"),
        ("vecmill/b/__init__.py", "", "print('effect at import')"),
    ],
)
def test_what_a_stage_reaches_changes_its_digest(tree: Path, name: str, old: str, new: str) -> None:
    before = code_digest(ROOT, tree)
    edit(tree, name, old, new) if old else (tree / name).write_text(new)
    assert code_digest(ROOT, tree).digest != before.digest


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("vecmill/a/stage.py", "Docstring.", "Another docstring."),
        ("vecmill/a/helper.py", "# a comment", "# another comment\n    # in two lines"),
        ("vecmill/a/helper.py", "return 2", "return 3"),
        ("vecmill/a/stage.py", "unrelated(): return 1", "unrelated(): return 5"),
        ("vecmill/b/tools.py", "unused(): return 2", "unused(): return 9"),
        ("vecmill/a/deep.py", "def deepest(x): return TABLE[x]", "def deepest(x):\n    return (TABLE[x])"),
        ("vecmill/errors.py", "...", "code = 2"),
    ],
)
def test_comments_layout_and_bystanders_do_not(tree: Path, name: str, old: str, new: str) -> None:
    before = code_digest(ROOT, tree)
    edit(tree, name, old, new)
    assert code_digest(ROOT, tree).digest == before.digest


def test_the_changed_definition_is_named(tree: Path) -> None:
    before = code_digest(ROOT, tree).definitions
    edit(tree, "vecmill/a/deep.py", "TABLE[x]", "TABLE[x] + 1")
    after = code_digest(ROOT, tree).definitions
    assert [name for name in after if before[name] != after[name]] == ["vecmill.a.deep:deepest"]


def test_a_new_helper_joins_the_closure(tree: Path) -> None:
    edit(tree, "vecmill/a/deep.py", "return TABLE[x]", "return extra(x)\ndef extra(x): return x")
    assert "vecmill.a.deep:extra" in code_digest(ROOT, tree).definitions


def test_a_module_passed_around_counts_whole(tree: Path) -> None:
    edit(tree, "vecmill/a/stage.py", "tools.used()", "sorted(dir(tools))")
    assert "vecmill.b.tools:unused" in code_digest(ROOT, tree).definitions


def test_an_unknown_root_is_refused(tree: Path) -> None:
    with pytest.raises(ValueError, match=r"no definition 'vecmill\.a\.stage:stagee'"):
        code_digest(("vecmill.a.stage:stagee",), tree)


def test_stages_of_the_real_pipeline_share_no_more_than_they_use(tmp_path: Path) -> None:
    """Editing a helper two calls below `train` changes train's code, and no other stage's."""
    from vecmill.pipelines.words import WORDS, WordsConfig

    root = tmp_path / "source"
    shutil.copytree(Path(vecmill.__file__).parent, root / "vecmill", ignore=shutil.ignore_patterns("__pycache__"))
    config = WordsConfig.model_validate({"train": {"kind": "skipgram"}})
    roots = {stage.name: (stage.core_function(config), *stage.also_code) for stage in WORDS.stages}
    before = {name: code_digest(each, root).digest for name, each in roots.items()}
    helper = root / "vecmill/kernels/sampling.py"
    source = helper.read_text()
    function = "keep_probabilities"
    assert f"def {function}(" in source
    head, _, tail = source.partition(f"def {function}(")
    signature_end = tail.index(":\n") + 2
    helper.write_text(f"{head}def {function}({tail[:signature_end]}    if False: pass\n{tail[signature_end:]}")
    after = {name: code_digest(each, root).digest for name, each in roots.items()}
    assert {name for name in roots if before[name] != after[name]} == {"train"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("k * 1", "k * 2"),  # a loop at module level fills a table
        ("def fallback(): return 1", "def fallback(): return 2"),  # the other branch of a try
    ],
)
def test_compound_statements_count(tree: Path, old: str, new: str) -> None:
    (tree / "vecmill/b/late.py").write_text(
        "TABLE = {}\nfor k in (1, 2):\n    TABLE[k] = k * 1\n"
        "try:\n    from vecmill.b.tools import missing as chosen\n"
        "except ImportError:\n    from vecmill.b.other import fallback as chosen\n"
        "def late(): return TABLE, chosen()\n"
    )
    (tree / "vecmill/b/other.py").write_text("def fallback(): return 1\n")
    before = code_digest(ROOT, tree)
    name = "vecmill/b/late.py" if "k" in old and "def" not in old else "vecmill/b/other.py"
    edit(tree, name, old, new)
    assert code_digest(ROOT, tree).digest != before.digest


def test_a_star_import_is_refused(tree: Path) -> None:
    edit(tree, "vecmill/a/helper.py", "def middle", "from vecmill.b.tools import *\ndef middle")
    with pytest.raises(ValueError, match=r"imports \* from vecmill\.b\.tools"):
        code_digest(ROOT, tree)
