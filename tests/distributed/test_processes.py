import json
import os
import signal
import subprocess
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from reference.words_corpora import encoded, planted_synonyms, stage_io, vocabulary_of
from vecmill.distributed import gloo, launch
from vecmill.distributed.launch import train_in_processes
from vecmill.distributed.trainer import train_shared
from vecmill.distributed.transport import OneProcess
from vecmill.errors import ConfigError, VecmillError, VocabularyError
from vecmill.vectors.word_vectors import WordVectors
from vecmill.words.config import SkipgramConfig
from vecmill.words.kinds import trainer_of
from vecmill.words.trainer import prepared_run, train_vectors

needs_torch = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
SETTINGS = {"dim": 8, "window": 3, "sample": 0.01, "threads": 1}


@pytest.fixture(scope="module", autouse=True)
def _kernels_compiled_once(tmp_path_factory):
    """Each worker would compile its kernels anew."""
    with pytest.MonkeyPatch.context() as patch:
        if not os.environ.get("VECMILL_KERNEL_CACHE"):
            patch.setenv("VECMILL_KERNEL_CACHE", str(tmp_path_factory.mktemp("kernels")))
        yield


def corpus(n_sentences=3_001):
    sentences = planted_synonyms(n_topics=5, n_sentences=n_sentences)
    vocabulary = vocabulary_of(sentences)
    return *encoded(sentences, vocabulary), vocabulary.counts


def config_of(n_workers, distributed=None, **settings):
    return SkipgramConfig(distributed={"workers": n_workers, **(distributed or {})}, **{**SETTINGS, **settings})


def in_one_process(config, seed=2):
    token_ids, offsets, counts = corpus()
    run = prepared_run(token_ids, offsets, counts, config, seed=seed)
    return train_shared(run, config, counts, OneProcess(config.distributed.workers)).training


def descendants():
    """Process ids of all that this process started, and what they started."""
    children = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue  # it has ended meanwhile
        children.setdefault(parent, []).append(int(stat.parent.name))
    found, left = [], [os.getpid()]
    while left:
        mine = children.get(left.pop(), [])
        found += [each for each in mine if is_worker(each)]
        left += mine
    return found


def is_worker(process):
    """Other tests' servers are descendants of this process too."""
    try:
        return b"vecmill.distributed.member" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


@needs_torch
def test_processes_give_the_bytes_of_one_process():
    config = config_of(3, {"precision": "bfloat16", "tiers": 2}, epochs=1, heldout_share=0.05)
    expected = in_one_process(config)  # first, so that not each of the workers compiles what it needs
    training, metrics = train_in_processes(*corpus(), config, seed=2)
    assert training.epochs == expected.epochs
    np.testing.assert_array_equal(training.center_vectors, expected.center_vectors)
    np.testing.assert_array_equal(training.context_vectors, expected.context_vectors)
    assert metrics["n_restarts"] == 0 and metrics["n_exchanges"] >= 32 and metrics["sent_bytes"] > 0
    assert descendants() == []


@needs_torch
def test_deterministic_mode_gives_the_bytes_of_one_worker():
    # 5 shards among 2 workers: one trains three of them, the other two
    config = config_of(2, mode="deterministic", round_shards=5, epochs=1)
    local = train_vectors(*corpus(), config_of(1, mode="deterministic", round_shards=5, epochs=1), seed=2)
    training, _ = train_in_processes(*corpus(), config, seed=2)
    assert training.epochs == local.epochs
    np.testing.assert_array_equal(training.center_vectors, local.center_vectors)
    np.testing.assert_array_equal(training.context_vectors, local.context_vectors)


def start_killing(checkpoints, sign, seen):
    """Once a checkpoint stands, send a signal to the last of our descendants."""

    def watch():
        deadline = time.monotonic() + 200  # a busy machine starts processes slowly
        while time.monotonic() < deadline and not any(checkpoints.glob("checkpoint-????????")):
            time.sleep(0.01)
        workers = descendants()
        seen.extend(workers)
        os.kill(workers[-1], sign)

    watcher = threading.Thread(target=watch)
    watcher.start()
    return watcher


@needs_torch
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGSTOP])
def test_a_lost_or_silent_worker_leads_to_a_resume_from_the_last_checkpoint(tmp_path, sign):
    settings = {"epochs": 3, "checkpoint_minutes": 1e-9, "sample": 0}
    config = config_of(2, {"tiers": 2, "timeout_seconds": 10, "transport": "processes"}, **settings)
    seen = []
    expected = in_one_process(config)
    watcher = start_killing(tmp_path / "kept", sign, seen)
    training, metrics = train_in_processes(*corpus(), config, seed=2, checkpoints=tmp_path / "kept")
    watcher.join()
    assert metrics["n_restarts"] >= 1 and training.resumed_at > 0
    np.testing.assert_array_equal(training.center_vectors, expected.center_vectors)
    assert training.epochs == expected.epochs
    assert len(seen) == 2
    assert descendants() == []


@needs_torch
def test_workers_that_are_lost_too_often_are_told_and_their_checkpoints_stay(tmp_path):
    config = config_of(2, {"tiers": 2, "restarts": 0}, epochs=500, checkpoint_minutes=1e-9)
    watcher = start_killing(tmp_path / "kept", signal.SIGKILL, [])
    with pytest.raises(
        VecmillError, match=r"lost workers 1 times, last: worker 1 of 2 \(process \d+\) was ended by SIGKILL"
    ):
        train_in_processes(*corpus(), config, seed=2, checkpoints=tmp_path / "kept")
    watcher.join()
    assert descendants() == []
    assert [each.name[:10] for each in (tmp_path / "kept").iterdir()] == ["checkpoint"]


@needs_torch
def test_workers_end_with_the_process_that_started_them(tmp_path):
    code = "import sys; sys.path[:0] = sys.argv[2:]\nfrom test_processes_child import main; main(sys.argv[1])\n"
    (tmp_path / "test_processes_child.py").write_text(
        "from pathlib import Path\n"
        "from reference.words_corpora import encoded, planted_synonyms, vocabulary_of\n"
        "from vecmill.distributed.launch import train_in_processes\n"
        "from vecmill.words.config import SkipgramConfig\n"
        "def main(folder):\n"
        "    sentences = planted_synonyms(n_topics=5, n_sentences=20_000)\n"
        "    vocabulary = vocabulary_of(sentences)\n"
        "    config = SkipgramConfig(dim=8, epochs=10_000, checkpoint_minutes=1e-9, threads=1,\n"
        "                            distributed={'workers': 2})\n"
        "    train_in_processes(*encoded(sentences, vocabulary), vocabulary.counts, config, seed=1,\n"
        "                       checkpoints=Path(folder))\n"
    )
    paths = [str(tmp_path), *[each for each in sys.path if each.endswith("tests")]]
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "kept"), *paths])
    try:
        deadline = time.monotonic() + 200  # a busy machine starts processes slowly
        while not any((tmp_path / "kept").glob("checkpoint-????????")):
            assert time.monotonic() < deadline and parent.poll() is None
            time.sleep(0.02)
        workers = [each for each in descendants() if each != parent.pid]
        assert len(workers) == 2
    finally:
        parent.kill()
        parent.wait()
    deadline = time.monotonic() + 200
    while any(Path(f"/proc/{each}").exists() for each in workers):
        assert time.monotonic() < deadline, "workers outlived the process that started them"
        time.sleep(0.05)


@needs_torch
def test_what_a_worker_refuses_is_said_as_one_process_says_it():
    token_ids, _, counts = corpus(500)
    alone = np.arange(token_ids.size + 1, dtype=np.int64)  # sentences of one word
    with pytest.raises(VocabularyError, match="had no pair of neighbouring words"):
        train_in_processes(token_ids, alone, counts, config_of(2, epochs=1), seed=0)
    assert descendants() == []


def test_without_torch_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(gloo, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"torch.* is not installed.*pip install 'vecmill\[encoders\]'.*one_process"):
        launch.train_in_processes(*corpus(300), config_of(2), seed=0)


@pytest.mark.parametrize("transport", ["one_process", pytest.param("processes", marks=needs_torch)])
def test_the_stage_writes_the_same_artifact(tmp_path, transport):
    from vecmill.distributed.train import train_words_distributed

    config = config_of(2, {"transport": transport}, epochs=1)
    assert trainer_of(config) == "vecmill.distributed.train:train_words_distributed"
    assert trainer_of(config_of(1)) == "vecmill.words.train:train_words"
    sentences = planted_synonyms(n_topics=5, n_sentences=3_001)
    io = stage_io(tmp_path, sentences, seed=2)
    report = train_words_distributed(config, io)
    assert sorted(path.name for path in io.output.iterdir()) == ["context_vectors.npy", "losses.parquet", "vectors"]
    np.testing.assert_array_equal(
        WordVectors.load(io.output / "vectors").vectors, in_one_process(config).center_vectors
    )
    assert report.metrics["workers"] == 2 and report.metrics["sent_bytes"] > 0
    json.dumps(report.metrics)
