"""Encoding goes on where a killed process was, and ends with the bytes of an unbroken run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from strategies_vocabulary import Document, stage_io

from vecmill.store.stage import StageIO
from vecmill.vocabulary import encode_progress
from vecmill.vocabulary.config import EncodeConfig
from vecmill.vocabulary.encode import encode_corpus
from vecmill.vocabulary.encode_progress import EncodeProgress, Position
from vecmill.vocabulary.passes import Corpus
from vecmill.vocabulary.token_store import SENTENCE_OFFSETS_NAME, TOKEN_IDS_NAME
from vecmill.vocabulary.vocabulary import Vocabulary

N_GROUPS = 12
FILES = (TOKEN_IDS_NAME, SENTENCE_OFFSETS_NAME)

# Kills itself where its fourth position has been saved.
KILLED = """
import os, signal, sys
from pathlib import Path
from vecmill.store.stage import StageIO
from vecmill.vocabulary import encode_progress
from vecmill.vocabulary.config import EncodeConfig
from vecmill.vocabulary.encode import encode_corpus
encode_progress.SECONDS_BETWEEN = 0.0
saved, save = [], encode_progress.EncodeProgress.save
def save_and_die(self, position):
    save(self, position)
    saved.append(position)
    if len(saved) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
encode_progress.EncodeProgress.save = save_and_die
root = Path(sys.argv[1])
inputs = {name: root / name for name in ("ingest", "contract", "vocabulary")}
encode_corpus(EncodeConfig(), StageIO(inputs, root / "output", checkpoints=root / "kept"))
"""


def place(root: Path) -> StageIO:
    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice(["a", "b", "c", "outside"], 5)) + ". And so on." for _ in range(4 * N_GROUPS)]
    documents: list[Document] = [(f"d{number:02d}", text) for number, text in enumerate(texts)]
    half = 2 * N_GROUPS
    io = stage_io(
        root, [documents[:half], documents[half:]], quarantined=["d05", *[f"d{n}" for n in range(20, 24)]], group=4
    )
    (root / "vocabulary").mkdir()
    Vocabulary(["a", "b", "c", "so"], np.arange(4, 0, -1), np.ones(4, dtype=np.int64)).save(root / "vocabulary")
    return StageIO({**io.inputs, "vocabulary": root / "vocabulary"}, io.output, checkpoints=root / "kept")


def contents(io: StageIO) -> list[bytes]:
    return [(io.output / name).read_bytes() for name in FILES]


@pytest.fixture(autouse=True)
def position_after_every_row_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode_progress, "SECONDS_BETWEEN", 0.0)


def broken_after(io: StageIO, n_batches: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Encode until so many batches have been handed on, and be gone in the middle of it."""
    whole = Corpus.map_row_groups

    def broken(self, *arguments):  # type: ignore[no-untyped-def]
        for number, item in enumerate(whole(self, *arguments)):
            if number == n_batches:
                raise KeyboardInterrupt
            yield item

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Corpus, "map_row_groups", broken)
        encode_corpus(EncodeConfig(), io)


def noting_where_it_begins(first: list[int]) -> Callable[..., Iterator[Any]]:
    whole = Corpus.map_row_groups

    def noting(corpus: Corpus, work: Any, title: str, start: int) -> Iterator[Any]:
        first.append(start)
        return whole(corpus, work, title, start)

    return noting


def test_broken_anywhere_and_resumed_the_bytes_and_the_report_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unbroken = place(tmp_path / "unbroken")
    report = encode_corpus(EncodeConfig(), StageIO(unbroken.inputs, unbroken.output))
    for n_batches in range(N_GROUPS - 1):
        io = place(tmp_path / f"broken-{n_batches}")
        broken_after(io, n_batches, monkeypatch)
        if 3 < n_batches < 8:
            broken_after(io, 2, monkeypatch)  # and once more
        first: list[int] = []
        with monkeypatch.context() as patched:
            patched.setattr(Corpus, "map_row_groups", noting_where_it_begins(first))
            resumed = encode_corpus(EncodeConfig(), io)
        assert first[0] >= n_batches - 1, "row groups were encoded twice"
        assert contents(io) == contents(unbroken)
        assert resumed == report
        assert not list((tmp_path / f"broken-{n_batches}" / "kept" / "tokens").glob("*.npy"))


def test_killed_and_run_again_the_bytes_are_the_same(tmp_path: Path) -> None:
    unbroken, io = place(tmp_path / "unbroken"), place(tmp_path / "killed")
    encode_corpus(EncodeConfig(), StageIO(unbroken.inputs, unbroken.output))
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "killed")], env=os.environ, check=False)
    assert done.returncode == -9
    position = json.loads((tmp_path / "killed/kept/tokens/position.json").read_text())
    assert position["n_tokens"] > 0
    assert position["next_row_group"] >= 4
    encode_corpus(EncodeConfig(), io)
    assert contents(io) == contents(unbroken)


@pytest.mark.parametrize("fault", ["other settings", "other text", "files too short", "no position", "not JSON"])
def test_a_position_that_does_not_fit_counts_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    io = place(tmp_path / "place")
    broken_after(io, 6, monkeypatch)
    kept = tmp_path / "place/kept/tokens"
    config = EncodeConfig()
    if fault == "other settings":
        config = EncodeConfig(sentence_unit="document")
    elif fault == "other text":
        shard = tmp_path / "place/ingest/part-00000.parquet"
        shard.write_bytes(shard.with_name("part-00001.parquet").read_bytes())
    elif fault == "files too short":
        with (kept / TOKEN_IDS_NAME).open("r+b") as file:
            file.truncate(130)
    elif fault == "no position":
        (kept / "position.json").unlink()
    else:
        (kept / "position.json").write_text("{")
    encode_corpus(config, io)
    fresh = StageIO(io.inputs, tmp_path / "fresh")
    fresh.output.mkdir()
    encode_corpus(config, fresh)
    assert contents(io) == contents(fresh)


def test_without_a_folder_nothing_is_kept(tmp_path: Path) -> None:
    progress = EncodeProgress(None, "")
    progress.save(Position(3))
    assert not progress.due()
    assert progress.load() == Position()
