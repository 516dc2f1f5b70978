"""Artifacts: built once, checked each time, rebuilt when damaged, never half."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import fsspec
import pytest

from reference import toy_stages
from reference.toy_stages import DoubledConfig, NumbersConfig, TotalConfig, ToyConfig
from vecmill.errors import StorageFull, StoreError
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.execute import StageOutcome
from vecmill.store.gc import collect, find_garbage
from vecmill.store.manifest import ArtifactRef

Runner = Callable[..., dict[str, StageOutcome]]


def cached(outcomes: dict[str, StageOutcome]) -> list[str]:
    return [name for name, outcome in outcomes.items() if outcome.cached]


def test_the_second_run_builds_nothing(store_config: StoreConfig, run_toy: Runner) -> None:
    config = ToyConfig(store=store_config)
    first = run_toy(config)
    assert cached(first) == []
    second = run_toy(config)
    assert cached(second) == ["numbers", "doubled", "total"]
    assert [each.ref for each in first.values()] == [each.ref for each in second.values()]
    folder = ArtifactStore(store_config).folder(second["total"].ref)
    assert (folder / "total.txt").read_text() == "total 6 7"


def test_the_manifest_says_what_made_the_artifact(store_config: StoreConfig, run_toy: Runner) -> None:
    outcomes = run_toy(ToyConfig(store=store_config))
    store = ArtifactStore(store_config)
    manifest = store.manifest("doubled", outcomes["doubled"].ref.key)
    assert manifest is not None
    assert manifest.inputs == {"numbers": outcomes["numbers"].ref}
    assert manifest.parts["config"] == {"doubled": {"factor": 2}}
    assert manifest.parts["versions"].keys() == {"python", "numpy"}
    assert [(entry.path, entry.bytes) for entry in manifest.files] == [("doubled.txt", 5)]
    numbers = store.manifest("numbers", outcomes["numbers"].ref.key)
    assert numbers is not None
    assert [(entry.path, entry.rows) for entry in numbers.files] == [("part/numbers.txt", 3)]
    total = store.manifest("total", outcomes["total"].ref.key)
    assert total is not None
    assert total.metrics == {"lineage": ["doubled", "numbers"]}
    json.loads(total.to_json())


@pytest.mark.parametrize(
    ("change", "expected_cached"),
    [
        ({"doubled": DoubledConfig(factor=3)}, ["numbers"]),
        ({"total": TotalConfig(label="sum")}, ["numbers", "doubled"]),
        ({"numbers": NumbersConfig(count=4)}, []),
        ({"numbers": NumbersConfig(threads=8)}, ["numbers", "doubled", "total"]),
        ({"seed": 8}, ["numbers", "doubled"]),
    ],
)
def test_a_change_reruns_its_stage_and_what_follows(
    store_config: StoreConfig, run_toy: Runner, change: dict[str, object], expected_cached: list[str]
) -> None:
    config = ToyConfig(store=store_config)
    run_toy(config)
    assert cached(run_toy(config.model_copy(update=change))) == expected_cached


def test_edited_code_reruns_its_stage_and_what_follows(
    store_config: StoreConfig, run_toy: Runner, toy_code: dict[str, str]
) -> None:
    config = ToyConfig(store=store_config)
    run_toy(config)
    toy_code["doubled"] = "edited"
    assert cached(run_toy(config)) == ["numbers"]


def _damage(store_config: StoreConfig, ref: ArtifactRef, name: str, how: str) -> None:
    store = ArtifactStore(store_config)
    manifest = store.manifest(ref.stage, ref.key)
    assert manifest is not None
    fs, root = fsspec.core.url_to_fs(store_config.uri)
    path = "/".join(part for part in (root, ref.stage, ref.key, manifest.prefix, name) if part)
    content = fs.cat_file(path)
    if how == "deleted":
        fs.rm(path)
    elif how == "truncated":
        fs.pipe_file(path, content[:-1])
    elif how == "altered":
        fs.pipe_file(path, bytes([content[0] ^ 1]) + content[1:])
    elif how == "no manifest":
        fs.rm("/".join((root, ref.stage, ref.key, "manifest.json")))
    elif how == "half a manifest":
        manifest_path = "/".join((root, ref.stage, ref.key, "manifest.json"))
        fs.pipe_file(manifest_path, fs.cat_file(manifest_path)[:100])


@pytest.mark.parametrize("how", ["deleted", "truncated", "altered", "no manifest", "half a manifest"])
def test_damage_is_noticed_and_mended(store_config: StoreConfig, run_toy: Runner, how: str) -> None:
    config = ToyConfig(store=store_config)
    before = run_toy(config)
    run_toy(config)  # with whatever is remembered about digests by now
    _damage(store_config, before["doubled"].ref, "doubled.txt", how)
    after = run_toy(config)
    # The rebuilt artifact holds the same bytes, so what was made from it still stands.
    assert cached(after) == ["numbers", "total"]
    assert after["doubled"].ref == before["doubled"].ref
    assert cached(run_toy(config)) == ["numbers", "doubled", "total"]


def test_an_altered_file_with_its_old_times_is_noticed(tmp_path: Path, run_toy: Runner) -> None:
    store_config = StoreConfig(uri=str(tmp_path / "store"), cache=str(tmp_path / "cache"))
    config = ToyConfig(store=store_config)
    ref = run_toy(config)["doubled"].ref
    path = tmp_path / "store" / ref.stage / ref.key / "doubled.txt"
    old = time.time() - 3600
    os.utime(path, (old, old))
    run_toy(config)
    path.write_text("9 9 9")
    os.utime(path, (old, old))
    assert "doubled" not in cached(run_toy(config))


def test_what_came_from_lost_bytes_is_stale(store_config: StoreConfig, run_toy: Runner) -> None:
    """A stage that gives other bytes each time: once rebuilt, its dependents run again, though all keys are equal."""
    noisy = ToyConfig(store=store_config, numbers=NumbersConfig(noise=True))
    first = run_toy(noisy)
    _damage(store_config, first["numbers"].ref, "part/numbers.txt", "deleted")
    again = run_toy(noisy)
    assert cached(again) == []
    assert [each.ref.key for each in again.values()] == [each.ref.key for each in first.values()]
    assert cached(run_toy(noisy)) == ["numbers", "doubled", "total"]


def test_a_reference_to_replaced_content_is_refused(store_config: StoreConfig, run_toy: Runner) -> None:
    noisy = ToyConfig(store=store_config, total=TotalConfig(noise=True))
    first = run_toy(noisy)
    again = run_toy(noisy, refresh=("total",))
    assert again["total"].ref.digest != first["total"].ref.digest
    with pytest.raises(StoreError, match="another one than this run started from"):
        ArtifactStore(store_config).folder(first["total"].ref)


def test_refresh_builds_again(store_config: StoreConfig, run_toy: Runner) -> None:
    config = ToyConfig(store=store_config)
    run_toy(config)
    assert cached(run_toy(config, refresh=("numbers",))) == ["doubled", "total"]


def test_a_failing_stage_leaves_nothing_and_keeps_what_was_finished(tmp_path: Path, run_toy: Runner) -> None:
    store_config = StoreConfig(uri=str(tmp_path / "store"), cache=str(tmp_path / "cache"))
    source = tmp_path / "numbers.txt"
    source.write_text("1 2 three")
    config = ToyConfig(store=store_config, numbers=NumbersConfig(source=str(source)))
    with pytest.raises(ValueError, match="three"):
        run_toy(config)
    store = ArtifactStore(store_config)
    assert [manifest.stage for manifest in store.manifests()] == ["numbers"]
    assert list((tmp_path / "store" / ".tmp").iterdir()) == []


KILLED = """
    import sys
    sys.path[:0] = {path!r}
    from reference import toy_stages
    from vecmill.store import plan
    from vecmill.store.artifact_store import ArtifactStore, StoreConfig
    from vecmill.store.closure import CodeDigest
    from vecmill.store.execute import run_stage
    plan.code_digest = lambda roots, source_root=None: CodeDigest("original", {{roots[0]: "original"}})
    config = toy_stages.ToyConfig(store=StoreConfig(uri={uri!r}, cache={cache!r}))
    store, outcomes = ArtifactStore(config.store), {{}}
    for stage in toy_stages.pipeline({function!r}).stages:
        refs = {{name: outcomes[name].ref for name in stage.inputs}}
        outcomes[stage.name] = run_stage(stage, config, store, refs)
        print(stage.name, outcomes[stage.name].cached, outcomes[stage.name].ref.digest, flush=True)
"""


def start_process(tmp_path: Path, function: str, seconds: float = 60) -> subprocess.Popen[str]:
    code = textwrap.dedent(KILLED).format(
        path=sys.path, uri=str(tmp_path / "store"), cache=str(tmp_path / "cache"), function=function
    )
    environment = {
        **os.environ,
        "TOY_STARTED": str(tmp_path / f"started-{time.monotonic_ns()}"),
        "TOY_SECONDS": str(seconds),
    }
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.started_file = Path(environment["TOY_STARTED"])  # type: ignore[attr-defined]
    return process


def wait_for(path: Path, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 200
    while not path.exists():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_killed_process_leaves_no_half_artifact(tmp_path: Path) -> None:
    process = start_process(tmp_path, "slow")
    wait_for(process.started_file, process)  # type: ignore[attr-defined]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    store = ArtifactStore(StoreConfig(uri=str(tmp_path / "store"), cache=str(tmp_path / "cache")))
    assert [manifest.stage for manifest in store.manifests()] == ["numbers"]
    leftovers = list((tmp_path / "store" / ".tmp").iterdir())
    assert len(leftovers) == 1  # half-written, and out of everybody's way
    assert (leftovers[0] / "doubled.txt").read_text() == "0 2"
    again = start_process(tmp_path, "slow", seconds=0)
    out, err = again.communicate(timeout=200)
    assert again.returncode == 0, err
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["numbers", "True"],
        ["doubled", "False"],
        ["total", "False"],
    ]
    assert list((tmp_path / "store" / ".tmp").iterdir()) == []


def test_two_runs_racing_for_one_key_build_it_once(tmp_path: Path) -> None:
    first = start_process(tmp_path, "slow", seconds=1.0)
    wait_for(first.started_file, first)  # type: ignore[attr-defined]
    second = start_process(tmp_path, "slow", seconds=1.0)
    outputs = [process.communicate(timeout=200) for process in (first, second)]
    assert [process.returncode for process in (first, second)] == [0, 0], outputs
    built = [line.split() for out, _ in outputs for line in out.splitlines() if line.startswith("doubled")]
    assert sorted(line[1] for line in built) == ["False", "True"]
    assert built[0][2] == built[1][2]


def test_of_two_remote_writers_the_first_complete_one_stands(run_toy: Runner, tmp_path: Path) -> None:
    config = StoreConfig(uri="memory://race/store", cache=str(tmp_path / "cache"))
    outcomes = run_toy(ToyConfig(store=config, total=TotalConfig(noise=True)))
    store = ArtifactStore(config)
    first = store.manifest("total", outcomes["total"].ref.key)
    assert first is not None

    def late(folder: Path) -> toy_stages.StageReport:
        (folder / "total.txt").write_text("from the second writer")
        return toy_stages.StageReport()

    second = store.build("total", first.key, first.parts, first.inputs, first.definitions, late)
    assert second == first
    assert store.problem(first) is None
    fs = fsspec.filesystem("memory")
    assert len(fs.find(f"/race/store/total/{first.key}")) == 2  # one manifest, one file: the loser's is gone


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    """A real limit: the process may write no file larger than 64 KiB."""
    code = f"""
import resource, sys
sys.path[:0] = {sys.path!r}
from pathlib import Path
from vecmill.errors import StorageFull
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.stage import StageReport
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
store = ArtifactStore(StoreConfig(uri={str(tmp_path / "store")!r}, cache={str(tmp_path / "cache")!r}))
def work(folder):
    (folder / "big.bin").write_bytes(bytes(100_000))
    return StageReport()
try:
    store.build("train", "k", {{}}, {{}}, {{}}, work)
except StorageFull as error:
    print(error)
print([m.stage for m in store.manifests()], list((Path({str(tmp_path / "store")!r}) / ".tmp").iterdir()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    message, rest = done.stdout.splitlines()
    assert message.startswith("no room left while stage train was writing below")
    assert "vecmill gc --dry-run" in message
    assert rest == "[] []"
    assert issubclass(StorageFull, StoreError)


def test_a_read_only_folder_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = ArtifactStore(StoreConfig(uri=str(tmp_path / "file" / "store"), cache=str(tmp_path / "cache")))
    with pytest.raises(StoreError, match=r"store\.uri"):
        store.build("train", "k", {}, {}, {}, lambda folder: toy_stages.StageReport())


def test_checkpoints_outlive_a_failure_and_end_with_the_artifact(store_config: StoreConfig) -> None:
    store = ArtifactStore(store_config)
    kept = store.checkpoints("train", "k")

    def fails(folder: Path) -> toy_stages.StageReport:
        kept.mkdir(parents=True)
        (kept / "epoch-1").write_text("half way")
        raise RuntimeError("killed")

    def resumes(folder: Path) -> toy_stages.StageReport:
        assert (kept / "epoch-1").read_text() == "half way"
        return toy_stages.StageReport()

    with pytest.raises(RuntimeError, match="killed"):
        store.build("train", "k", {}, {}, {}, fails)
    store.build("train", "k", {}, {}, {}, resumes)
    assert not kept.exists()
    assert [manifest.stage for manifest in store.manifests()] == ["train"]


def test_code_edited_while_a_stage_runs_is_not_published(
    store_config: StoreConfig, run_toy: Runner, toy_code: dict[str, str]
) -> None:
    """The process works with the old code, the files say the new: the result belongs under neither key."""
    config = ToyConfig(store=store_config)
    run_toy(config)
    dict.__setitem__(toy_code, "doubled", "edited in an editor")  # no new process
    with pytest.raises(StoreError, match="the code of stage doubled was edited while this process was running"):
        run_toy(config.model_copy(update={"doubled": DoubledConfig(factor=9)}))
    assert len(list(ArtifactStore(store_config).manifests("doubled"))) == 1


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda raw: raw.update(files=[]), "does not fit together"),
        (lambda raw: raw.update(stage="total"), "does not fit together"),
        (lambda raw: raw.update(schema_version=99), "has schema version 99"),
        (lambda raw: raw.pop("inputs"), "cannot be read as a manifest"),
    ],
)
def test_a_manifest_is_not_trusted_blindly(
    store_config: StoreConfig, run_toy: Runner, change: Callable[[dict[str, object]], None], reason: str
) -> None:
    config = ToyConfig(store=store_config)
    ref = run_toy(config)["doubled"].ref
    store = ArtifactStore(store_config)
    place = f"{ref.stage}/{ref.key}/manifest.json"
    raw = json.loads(store.backend.read(place) or b"")
    change(raw)
    store.backend.write(place, json.dumps(raw).encode())
    assert reason in (store.unreadable(ref.stage, ref.key) or "")
    assert cached(run_toy(config)) == ["numbers", "total"]


def test_a_file_that_nobody_stated_is_damage(tmp_path: Path, run_toy: Runner) -> None:
    config = ToyConfig(store=StoreConfig(uri=str(tmp_path / "store"), cache=str(tmp_path / "cache")))
    ref = run_toy(config)["numbers"].ref
    (tmp_path / "store" / ref.stage / ref.key / "part" / "more.txt").write_text("9")
    assert "numbers" not in cached(run_toy(config))


@pytest.mark.parametrize("uri", ["/proc/nope/store", "/dev/null/store"])
def test_a_place_that_cannot_hold_a_store_is_said(tmp_path: Path, run_toy: Runner, uri: str) -> None:
    with pytest.raises(StoreError, match=r"cannot be used while .*store\.uri"):
        run_toy(ToyConfig(store=StoreConfig(uri=uri, cache=str(tmp_path / "cache"))))


def test_an_altered_copy_of_a_remote_artifact_is_fetched_again(tmp_path: Path, run_toy: Runner) -> None:
    store_config = StoreConfig(uri="memory://copies/store", cache=str(tmp_path / "cache"))
    ref = run_toy(ToyConfig(store=store_config))["numbers"].ref
    copy = ArtifactStore(store_config).folder(ref) / "part" / "numbers.txt"
    content = copy.read_text()
    copy.write_text(content[:-1] + "9")
    assert (ArtifactStore(store_config).folder(ref) / "part" / "numbers.txt").read_text() == content


def test_what_was_built_here_is_not_fetched(tmp_path: Path, run_toy: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    store_config = StoreConfig(uri="memory://kept/store", cache=str(tmp_path / "cache"))
    monkeypatch.setattr(type(fsspec.filesystem("memory")), "get_file", _never_fetched)
    refs = {name: outcome.ref for name, outcome in run_toy(ToyConfig(store=store_config)).items()}
    assert (ArtifactStore(store_config).folder(refs["total"]) / "total.txt").read_text() == "total 6 7"
    elsewhere = ArtifactStore(store_config.model_copy(update={"cache": str(tmp_path / "another")}))
    with pytest.raises(StoreError, match="fetched"):
        elsewhere.folder(refs["total"])


def _never_fetched(*arguments: object, **options: object) -> None:
    raise RuntimeError("fetched")


def test_an_input_is_fetched_when_it_is_asked_for(tmp_path: Path, run_toy: Runner) -> None:
    store_config = StoreConfig(uri="memory://lazy/store", cache=str(tmp_path / "cache"))
    refs = {name: outcome.ref for name, outcome in run_toy(ToyConfig(store=store_config)).items()}
    another = tmp_path / "another"
    store = ArtifactStore(store_config.model_copy(update={"cache": str(another)}))
    folders = store.folders({name: refs[name] for name in ("numbers", "doubled")})
    assert dict.fromkeys(folders) == {"numbers": None, "doubled": None}
    assert not another.exists()
    few = folders.some("numbers", ["no such file"])
    assert not few.exists()
    assert (folders.some("numbers", ["part/numbers.txt"]) / "part" / "numbers.txt").is_file()
    assert not (another / "artifacts" / "doubled").exists()
    assert (folders["doubled"] / "doubled.txt").read_text() == "0 2 4"
    with pytest.raises(StoreError, match="gone"):
        store.folders({"numbers": ArtifactRef("numbers", "0" * 24, "0" * 64)})


def test_garbage_takes_its_copies_with_it(tmp_path: Path, run_toy: Runner) -> None:
    store_config = StoreConfig(uri="memory://swept/store", cache=str(tmp_path / "cache"))
    run_toy(ToyConfig(store=store_config))
    store = ArtifactStore(store_config)
    collect(store, find_garbage(store, lambda manifest, folder: False, root_stage="total"))
    assert list(store.manifests()) == []
    assert not [path for path in (tmp_path / "cache" / "artifacts").rglob("*") if path.is_file()]


def test_of_an_object_on_s3_little_is_in_memory(tmp_path: Path, s3_server: dict[str, str]) -> None:
    """s3fs has ten blocks of 50 MiB under way when nobody tells it otherwise."""
    import boto3

    with pytest.MonkeyPatch.context() as patched:
        for name, value in s3_server.items():
            patched.setenv(name, value)
        client = boto3.client("s3")
        client.create_bucket(Bucket="blocks")
        store = ArtifactStore(StoreConfig(uri="s3://blocks/store", cache=str(tmp_path / "cache")))

        def work(folder: Path) -> toy_stages.StageReport:
            (folder / "large.bin").write_bytes(bytes(20 << 20))
            return toy_stages.StageReport()

        with store.building("big", "key"):
            manifest = store.build("big", "key", {}, {}, {}, work)
        (found,) = client.list_objects_v2(Bucket="blocks", Prefix="store/big/key/")["Contents"][:1]
        assert found["ETag"].strip('"').endswith("-3")  # parts of 8 MiB
        another = ArtifactStore(StoreConfig(uri="s3://blocks/store", cache=str(tmp_path / "another")))
        assert (another.folder(manifest.ref) / "large.bin").stat().st_size == 20 << 20
        files = another.backend._fs  # type: ignore[attr-defined]
        assert files.default_block_size * files.max_concurrency == 32 << 20


def test_home_folder_and_file_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert ArtifactStore(StoreConfig(uri="~/my store")).uri == str(tmp_path / "my store")
    assert ArtifactStore(StoreConfig(uri=f"file://{tmp_path}/my%20store")).uri == str(tmp_path / "my store")
