"""Planning: what would run, and which of config, code, input, version or file is the cause."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reference import toy_stages
from reference.toy_stages import DoubledConfig, NumbersConfig, ToyConfig
from vecmill.errors import StoreError
from vecmill.store import plan as plan_module
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.execute import StageOutcome
from vecmill.store.gc import collect, find_garbage
from vecmill.store.plan import make_plan
from vecmill.store.runs import latest_keys, run_records, start_run

Runner = Callable[..., dict[str, StageOutcome]]


def causes(config: ToyConfig, refresh: tuple[str, ...] = ()) -> dict[str, list[str]]:
    store = ArtifactStore(config.store)
    toy = toy_stages.pipeline()
    plan = make_plan(toy, config, store, refresh=refresh, earlier=latest_keys(store, toy.name))
    return {each.stage.name: each.causes for each in plan}


def test_an_empty_store(store_config: StoreConfig, toy_code: dict[str, str]) -> None:
    found = causes(ToyConfig(store=store_config))
    assert found == {name: ["never built in this store"] for name in ("numbers", "doubled", "total")}


def test_nothing_to_do(store_config: StoreConfig, run_toy: Runner) -> None:
    config = ToyConfig(store=store_config)
    run_toy(config)
    assert causes(config) == {"numbers": [], "doubled": [], "total": []}


def test_planning_agrees_with_running(store_config: StoreConfig, run_toy: Runner) -> None:
    config = ToyConfig(store=store_config)
    run_toy(config)
    changed = config.model_copy(update={"doubled": DoubledConfig(factor=5)})
    planned = [name for name, why in causes(changed).items() if why]
    assert planned == [name for name, outcome in run_toy(changed).items() if not outcome.cached]


def test_config_and_its_consequence(store_config: StoreConfig, run_toy: Runner) -> None:
    config = ToyConfig(store=store_config)
    run_toy(config)
    found = causes(config.model_copy(update={"doubled": DoubledConfig(factor=5)}))
    assert found == {
        "numbers": [],
        "doubled": ["config: doubled.factor: 2 → 5"],
        "total": ["input: doubled will be another one"],
    }


def test_code(store_config: StoreConfig, run_toy: Runner, toy_code: dict[str, str]) -> None:
    config = ToyConfig(store=store_config)
    run_toy(config)
    toy_code["total"] = "edited"
    assert causes(config) == {"numbers": [], "doubled": [], "total": ["code: reference.toy_stages:total"]}


def test_version(store_config: StoreConfig, run_toy: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    config = ToyConfig(store=store_config)
    run_toy(config)
    installed = plan_module.metadata.version("numpy")
    monkeypatch.setattr(plan_module.metadata, "version", lambda name: "99.0")
    assert causes(config)["doubled"] == [f"version: numpy: '{installed}' → '99.0'"]


def test_seed(store_config: StoreConfig, run_toy: Runner) -> None:
    config = ToyConfig(store=store_config)
    run_toy(config)
    found = causes(config.model_copy(update={"seed": 11}))
    assert found == {"numbers": [], "doubled": [], "total": ["seed: 7 → 11"]}


def test_a_changed_source(store_config: StoreConfig, run_toy: Runner, tmp_path: Path) -> None:
    source = tmp_path / "in.txt"
    source.write_text("1 2")
    config = ToyConfig(store=store_config, numbers=NumbersConfig(source=str(source)))
    run_toy(config)
    source.write_text("1 3")
    assert causes(config)["numbers"] == ["external: in.txt changed"]


def test_refresh(store_config: StoreConfig, run_toy: Runner) -> None:
    config = ToyConfig(store=store_config)
    run_toy(config)
    found = causes(config, refresh=("doubled",))
    assert found["doubled"] == ["asked for with --refresh"]
    assert found["total"] == ["input: runs if rebuilding doubled gives other content"]


def test_a_deleted_file(store_config: StoreConfig, run_toy: Runner) -> None:
    config = ToyConfig(store=store_config)
    ref = run_toy(config)["doubled"].ref
    store = ArtifactStore(store_config)
    manifest = store.manifest(ref.stage, ref.key)
    assert manifest is not None
    place = "/".join(part for part in (ref.stage, ref.key, manifest.prefix, "doubled.txt") if part)
    store.backend.remove(place)
    assert causes(config)["doubled"] == ["artifact: doubled.txt is missing"]


def test_no_longer_valid_outside_the_store(store_config: StoreConfig, run_toy: Runner) -> None:
    config = ToyConfig(store=store_config)
    run_toy(config)
    toy = toy_stages.pipeline()
    stages = list(toy.stages)
    stages[2] = plan_module.Stage(
        **{**stages[2].__dict__, "still_valid": lambda section, folder: f"{section.label} is gone: {folder.is_dir()}"}
    )
    plan = make_plan(plan_module.Pipeline("toy", ToyConfig, tuple(stages)), config, ArtifactStore(store_config))
    assert plan[2].causes == ["artifact: total is gone: True"]


def test_garbage_is_what_no_kept_model_leads_back_to(store_config: StoreConfig, run_toy: Runner) -> None:
    config = ToyConfig(store=store_config)
    old = run_toy(config)
    new = run_toy(config.model_copy(update={"doubled": DoubledConfig(factor=5)}))
    store = ArtifactStore(store_config)
    kept_key = new["total"].ref.key
    garbage = find_garbage(store, lambda manifest, folder: manifest.key == kept_key, root_stage="total")
    assert {(each.stage, each.key) for each in garbage.artifacts} == {
        ("doubled", old["doubled"].ref.key),
        ("total", old["total"].ref.key),
    }
    assert garbage.n_kept == 3
    assert garbage.n_bytes > 0
    collect(store, garbage)
    assert {each.key for each in store.manifests("total")} == {kept_key}
    again = run_toy(config.model_copy(update={"doubled": DoubledConfig(factor=5)}))
    assert all(outcome.cached for outcome in again.values())


def test_garbage_spares_what_a_running_pipeline_has_finished(store_config: StoreConfig, run_toy: Runner) -> None:
    outcomes = run_toy(ToyConfig(store=store_config))
    store = ArtifactStore(store_config)
    assert len(find_garbage(store, lambda manifest, folder: False, root_stage="total").artifacts) == 3
    start_run(store, "toy", {name: each.ref.key for name, each in outcomes.items()})
    assert find_garbage(store, lambda manifest, folder: False, root_stage="total").artifacts == ()
    assert [record.status for record in run_records(store, "toy")] == ["finished", "running"]


def test_the_nearest_artifact_is_the_one_compared_with(store_config: StoreConfig, run_toy: Runner) -> None:
    """The last run was about other numbers; what differs from the run before it is said."""
    config = ToyConfig(store=store_config)
    run_toy(config)
    run_toy(config.model_copy(update={"numbers": NumbersConfig(count=9), "doubled": DoubledConfig(factor=7)}))
    found = causes(config.model_copy(update={"doubled": DoubledConfig(factor=3)}))
    assert found["doubled"] == ["config: doubled.factor: 2 → 3"]


def test_an_unreadable_manifest_is_said_and_stops_garbage_collection(
    store_config: StoreConfig, run_toy: Runner
) -> None:
    config = ToyConfig(store=store_config)
    ref = run_toy(config)["doubled"].ref
    store = ArtifactStore(store_config)
    store.backend.write(f"{ref.stage}/{ref.key}/manifest.json", b"{")
    assert "cannot be read as a manifest" in causes(config)["doubled"][0]
    with pytest.raises(StoreError, match=r"cannot be read as a manifest.*delete the folder doubled/"):
        find_garbage(store, lambda manifest, folder: True, root_stage="total")


def test_a_model_without_manifest_stops_garbage_collection(tmp_path: Path, run_toy: Runner) -> None:
    config = ToyConfig(store=StoreConfig(uri=str(tmp_path / "store"), cache=str(tmp_path / "cache")))
    ref = run_toy(config)["total"].ref
    (tmp_path / "store" / ref.stage / ref.key / "manifest.json").unlink()
    with pytest.raises(StoreError, match="has no manifest, though it stands for a model"):
        find_garbage(ArtifactStore(config.store), lambda manifest, folder: True, root_stage="total")


def test_a_foreign_run_record_stops_nothing(store_config: StoreConfig, run_toy: Runner) -> None:
    run_toy(ToyConfig(store=store_config))
    store = ArtifactStore(store_config)
    strange = b'{"run_id": "x", "pipeline": "toy", "status": "running", "host": "elsewhere", "started_at": ""}'
    store.backend.write("runs/toy/x.json", strange)
    assert len(find_garbage(store, lambda manifest, folder: False, root_stage="total").artifacts) == 3


def test_collecting_sweeps_up_after_killed_processes(tmp_path: Path, run_toy: Runner) -> None:
    config = ToyConfig(store=StoreConfig(uri=str(tmp_path / "store"), cache=str(tmp_path / "cache")))
    run_toy(config)
    store = ArtifactStore(config.store)
    (tmp_path / "store" / ".tmp" / "doubled-abc-12345678").mkdir()
    collect(store, find_garbage(store, lambda manifest, folder: True, root_stage="total"))
    assert list((tmp_path / "store" / ".tmp").iterdir()) == []
    assert len(list(store.manifests())) == 3
