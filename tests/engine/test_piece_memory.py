"""What pieces ask a Ray cluster for; without one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from vecmill.engine import ray_pieces
from vecmill.store.pieces import PieceJob

NODES = [
    {"NodeID": name * 8, "NodeManagerAddress": name, "Resources": {"CPU": 2.0, "memory": memory}, "Alive": alive}
    for name, memory, alive in (("a", 3e9, True), ("b", 1e9, True), ("c", 9e9, False))
]


@dataclass
class ClusterOnPaper:
    """Takes tasks and carries none out; after its first answer it may have other nodes."""

    class exceptions:
        class GetTimeoutError(TimeoutError):
            pass

    asked: list[dict[str, Any]] = field(default_factory=list)
    up: list[dict[str, Any]] = field(default_factory=lambda: NODES)
    up_later: list[dict[str, Any]] = field(default_factory=list)
    n_cancelled: int = 0

    def remote(self, *arguments: Any) -> Any:
        return self

    def options(self, **options: Any) -> Any:
        cluster = self

        class Task:  # as with Ray, options are given once
            def remote(self, *arguments: Any) -> dict[str, Any]:
                cluster.asked.append(options)
                return {"memory": options.get("memory", 0)}

        return Task()

    def cluster_resources(self) -> dict[str, float]:
        return {"CPU": 4.0}

    def nodes(self) -> list[dict[str, Any]]:
        return self.up

    def get(self, answer: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        largest = max(node["Resources"]["memory"] for node in self.up if node["Alive"])
        if answer["memory"] > largest:
            raise self.exceptions.GetTimeoutError
        if self.up_later:
            self.up, self.up_later = self.up_later, []
        return {}

    def cancel(self, answer: Mapping[str, Any], *, force: bool) -> None:
        assert force
        self.n_cancelled += 1


def _asked(
    monkeypatch: pytest.MonkeyPatch, memory_bytes: int, of_stage: int = 0, cluster: ClusterOnPaper | None = None
) -> list[dict[str, Any]]:
    cluster = cluster or ClusterOnPaper()
    monkeypatch.setattr(ray_pieces, "import_ray", lambda: cluster)
    monkeypatch.setattr(ray_pieces, "_manifest", lambda answer: answer)
    order = {"retries": 2, "stage": "vocabulary", "cwd": "/", "names": {}, "resources": {"memory": of_stage}}
    order["config"] = {"store": {"uri": "s3://bucket/store"}}
    job = PieceJob("vocabulary.count", "k", {}, {}, {}, len, None, {}, memory_bytes=memory_bytes)  # type: ignore[arg-type]
    assert list(ray_pieces.spread(order, lambda job: job, [job] * 3)) == [{}] * 3  # type: ignore[arg-type, return-value]
    assert all((each["num_cpus"], each["max_retries"]) == (1, 2) for each in cluster.asked)
    return cluster.asked


def test_a_piece_has_its_memory_kept_free(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [each["memory"] for each in _asked(monkeypatch, 256_000_000)] == [256_000_000] * 3


def test_never_more_than_the_largest_node_has_so_that_it_is_placed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {each["memory"] for each in _asked(monkeypatch, 50_000_000_000)} == {3_000_000_000}


def test_none_where_it_needs_little_or_the_stage_holds_some_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any("memory" in each for each in _asked(monkeypatch, 0))
    assert not any("memory" in each for each in _asked(monkeypatch, 256_000_000, of_stage=1_000_000_000))


def test_a_piece_whose_node_went_away_while_it_waited_is_placed_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray would wait for another node of that size for ever."""
    monkeypatch.setattr(ray_pieces, "_LOOK_SECONDS", 0.01)
    cluster = ClusterOnPaper(up_later=NODES[1:])
    asked = _asked(monkeypatch, 2_000_000_000, cluster=cluster)
    assert [each["memory"] for each in asked] == [2_000_000_000] * 3 + [1_000_000_000] * 2
    assert cluster.n_cancelled == 2
