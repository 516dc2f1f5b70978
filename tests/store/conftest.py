"""A store to test on, local and in memory, and a way to run the toy pipeline."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reference import toy_stages
from vecmill.store import plan as plan_module
from vecmill.store.artifact_store import ArtifactStore, StoreConfig
from vecmill.store.closure import CodeDigest
from vecmill.store.execute import StageOutcome, run_stage
from vecmill.store.plan import Pipeline
from vecmill.store.runs import finish_run, start_run


class _Edits(dict[str, str]):
    """Digests by function; an edit is followed by a new process, which loads what it finds."""

    def __setitem__(self, function: str, digest: str) -> None:
        super().__setitem__(function, digest)
        plan_module._loaded_code.clear()


@pytest.fixture
def toy_code(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Stands in for the code closure, which only knows vecmill's own modules: a digest for each function."""
    digests = _Edits()
    plan_module._loaded_code.clear()

    def fake(roots: tuple[str, ...], source_root: Path | None = None) -> CodeDigest:
        value = digests.get(roots[0].rpartition(":")[2], "original")
        return CodeDigest(value, {roots[0]: value})

    monkeypatch.setattr(plan_module, "code_digest", fake)
    return digests


@pytest.fixture(params=["local", "memory"])
def store_config(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StoreConfig]:
    if request.param == "local":
        yield StoreConfig(uri=str(tmp_path / "store"), cache=str(tmp_path / "cache"))
        return
    import fsspec

    name = f"/test-{uuid.uuid4().hex}"
    yield StoreConfig(uri=f"memory:/{name}/store", cache=str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    if memory.exists(name):
        memory.rm(name, recursive=True)


Runner = Callable[..., dict[str, StageOutcome]]


@pytest.fixture
def run_toy(toy_code: dict[str, str]) -> Runner:
    """Run the toy pipeline as the flows do, without an orchestrator."""

    def run(config: Any, refresh: tuple[str, ...] = (), pipeline: Pipeline | None = None) -> dict[str, StageOutcome]:
        toy = pipeline or toy_stages.pipeline()
        store = ArtifactStore(config.store)
        keys = {each.stage.name: each.key for each in plan_module.make_plan(toy, config, store)}
        record = start_run(store, toy.name, keys)
        outcomes: dict[str, StageOutcome] = {}
        for stage in toy.stages:
            refs = {name: outcomes[name].ref for name in stage.inputs}
            outcomes[stage.name] = run_stage(stage, config, store, refs, refresh=stage.name in refresh)
        finish_run(store, record)
        return outcomes

    return run
