"""Bad input, all the way through the command line: exit code, one message, no traceback, what is finished is kept."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from servers import free_port, wait_until
from vecmill.store.artifact_store import ArtifactStore, StoreConfig

pytestmark = [pytest.mark.server, pytest.mark.timeout(300)]


def vecmill_run(
    folder: Path,
    config: dict[str, Any],
    environment: dict[str, str],
    *arguments: str,
    max_file_bytes: int | None = None,
) -> subprocess.CompletedProcess[str]:
    deployment = {"name": "words", "entrypoint": "flows/words.py:words", "parameters": {"config": config}}
    (folder / "pipelines.yaml").write_text(yaml.safe_dump({"deployments": [deployment]}))

    def limit() -> None:
        if max_file_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, max_file_bytes))

    return subprocess.run(
        [sys.executable, "-m", "vecmill", "run", "words", *arguments],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        preexec_fn=limit,
    )


def message_of(done: subprocess.CompletedProcess[str], exit_code: int) -> str:
    assert done.returncode == exit_code, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    assert done.stdout == ""
    messages = [line for line in done.stderr.splitlines() if line.startswith("vecmill: ")]
    assert len(messages) == 1, done.stderr
    return messages[0]


def finished(config: dict[str, Any]) -> list[str]:
    """Stages that stand whole; the pieces of a stage (`ingest.read`) may stand without it."""
    stages = [manifest.stage for manifest in ArtifactStore(StoreConfig(**config["store"])).manifests()]
    return sorted(stage for stage in stages if "." not in stage)


BAD_FILES: list[tuple[str, bytes, dict[str, Any], list[str]]] = [
    ("empty.txt", b"", {}, ["empty.txt"]),
    ("binary.txt", b"text \x00\x01\x02 and more", {}, ["binary.txt", "NUL"]),
    ("latin.txt", "caf\xe9 au lait".encode("latin-1"), {}, ["latin.txt", "corpus.encoding"]),
    ("bad.jsonl", b'{"text": "fine"}\n{"text": \n', {}, ["bad.jsonl", "2"]),
    ("bad.csv", b"body,title\nhello,x\n", {}, ["bad.csv", "'text'", "body"]),
    ("bad.xml", b"<mediawiki><page><title>x</title>", {}, ["bad.xml"]),
    ("cut.txt.gz", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\x4b\x49", {}, ["cut.txt.gz"]),
]


@pytest.mark.parametrize(("name", "content", "corpus", "parts"), BAD_FILES, ids=[each[0] for each in BAD_FILES])
def test_bad_files(
    tmp_path: Path,
    small_config: dict[str, Any],
    prefect_server: dict[str, str],
    name: str,
    content: bytes,
    corpus: dict[str, Any],
    parts: list[str],
) -> None:
    (tmp_path / name).write_bytes(content)
    small_config["corpus"] = {"sources": [str(tmp_path / name)], **corpus}
    message = message_of(vecmill_run(tmp_path, small_config, prefect_server), 2)
    for part in parts:
        assert part in message
    assert "What to do:" in message
    assert finished(small_config) == []


def test_a_missing_file_is_refused_before_anything_starts(tmp_path: Path, small_config: dict[str, Any]) -> None:
    small_config["corpus"] = {"sources": [str(tmp_path / "nowhere.txt")]}
    message = message_of(vecmill_run(tmp_path, small_config, {}), 2)
    assert "nowhere.txt" in message
    assert not (tmp_path / ".vecmill").exists()


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ("", "ratings.tsv: the file is empty. Expected: the header word1, word2, score, separated by tabs."),
        ("word1\tword2\tscore\n", "ratings.tsv: no pair follows the header. Expected: one rated word pair a line"),
    ],
)
def test_an_empty_benchmark_is_refused_before_anything_starts(
    tmp_path: Path, small_config: dict[str, Any], content: str, found: str
) -> None:
    (tmp_path / "ratings.tsv").write_text(content)
    small_config["evaluate"] = {"benchmarks": ["men", "./ratings.tsv"]}
    assert found in message_of(vecmill_run(tmp_path, small_config, {}), 2)
    assert not (tmp_path / ".vecmill").exists() and finished(small_config) == []


def test_a_vocabulary_emptied_by_min_count(
    tmp_path: Path, small_config: dict[str, Any], prefect_server: dict[str, str]
) -> None:
    small_config["vocabulary"]["min_count"] = 1_000_000
    message = message_of(vecmill_run(tmp_path, small_config, prefect_server), 2)
    assert "min_count" in message
    assert "1000000" in message
    assert finished(small_config) == ["contamination", "contract", "ingest"]


def test_a_contract_broken_beyond_the_stated_fraction(
    tmp_path: Path, small_config: dict[str, Any], prefect_server: dict[str, str]
) -> None:
    (tmp_path / "noise.jsonl").write_text('{"text": "12345 67890 !!!! 2468 13579 ////"}\n' * 5)
    small_config["corpus"] = {"sources": [str(tmp_path / "noise.jsonl")]}
    message = message_of(vecmill_run(tmp_path, small_config, prefect_server), 2)
    assert "max_quarantined_frac" in message
    assert finished(small_config) == ["ingest"]


def test_nan_during_training(tmp_path: Path, small_config: dict[str, Any], prefect_server: dict[str, str]) -> None:
    small_config["train"]["learning_rate"] = 1e30
    message = message_of(vecmill_run(tmp_path, small_config, prefect_server), 1)
    assert "learning_rate" in message
    assert finished(small_config) == ["contamination", "contract", "encode", "ingest", "vocabulary"]


def test_the_registry_does_not_answer(
    tmp_path: Path, small_config: dict[str, Any], prefect_server: dict[str, str]
) -> None:
    small_config["registry"]["tracking_uri"] = f"http://user:hunter2@127.0.0.1:{free_port()}"
    done = vecmill_run(tmp_path, small_config, prefect_server)
    message = message_of(done, 1)
    assert "127.0.0.1" in message
    assert "hunter2" not in done.stderr
    assert finished(small_config) == [
        "contamination",
        "contract",
        "encode",
        "evaluate",
        "ingest",
        "train",
        "vocabulary",
    ]
    small_config["registry"]["tracking_uri"] = f"sqlite:///{tmp_path / 'mlflow.db'}"
    again = vecmill_run(tmp_path, small_config, prefect_server)
    assert again.returncode == 0, again.stderr
    assert again.stdout.count("cached") == 7


def test_a_full_disk(tmp_path: Path, small_config: dict[str, Any], prefect_server: dict[str, str]) -> None:
    """No file may grow beyond 40 kB, which is what a stage sees when the disk is full."""
    small_config["train"]["dim"] = 512
    done = vecmill_run(tmp_path, small_config, prefect_server, max_file_bytes=40_000)
    message = message_of(done, 1)
    assert "no room left while stage" in message
    assert "vecmill gc --dry-run" in message
    assert "ingest" in finished(small_config) or "stage ingest" in message


def test_debug_shows_where(tmp_path: Path, small_config: dict[str, Any], prefect_server: dict[str, str]) -> None:
    (tmp_path / "empty.txt").write_bytes(b"")
    small_config["corpus"] = {"sources": [str(tmp_path / "empty.txt")]}
    done = vecmill_run(tmp_path, small_config, prefect_server, "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_prefects_server_does_not_answer(tmp_path: Path, small_config: dict[str, Any]) -> None:
    address = f"http://127.0.0.1:{free_port()}/api"
    message = message_of(vecmill_run(tmp_path, small_config, {"PREFECT_API_URL": address}), 1)
    assert address in message
    assert "PREFECT_API_URL" in message


def test_an_interrupt_keeps_what_is_finished(
    tmp_path: Path, small_config: dict[str, Any], prefect_server: dict[str, str]
) -> None:
    small_config["train"] |= {"epochs": 10_000, "dim": 300}
    deployment = {"name": "words", "entrypoint": "flows/words.py:words", "parameters": {"config": small_config}}
    (tmp_path / "pipelines.yaml").write_text(yaml.safe_dump({"deployments": [deployment]}))
    command = [sys.executable, "-m", "vecmill", "run", "words"]
    environment = {**os.environ, **prefect_server}
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: "encode" in finished(small_config), 200, "training begins", process)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=200)
    assert process.returncode == 130, stderr
    assert stderr.splitlines()[-1] == "vecmill: interrupted; finished stages are kept"
    assert "Traceback" not in stderr
    assert finished(small_config) == ["contamination", "contract", "encode", "ingest", "vocabulary"]
