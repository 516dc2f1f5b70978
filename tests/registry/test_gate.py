"""The gate in a registry: who is promoted, what the verdict says and where it stands, and what stops it."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vecmill.errors import ConfigError, RegistryError
from vecmill.evaluation.benchmarks import Benchmark
from vecmill.evaluation.items import ITEMS_NAME, benchmark_items, write_items
from vecmill.registry import guards
from vecmill.registry.config import PromotionConfig, RegistryConfig
from vecmill.registry.gate import recipe_digest
from vecmill.registry.register import register_model
from vecmill.store.stage import StageIO
from vecmill.vectors.word_vectors import WordVectors

FinishedModel = Callable[..., StageIO]
BOTH = (("wordsim353", "d353"), ("men", "d3000"))
# Few resamples are enough here; how good the statistics are is counted in tests/evaluation.
QUICK = {"n_resamples": 400}


@pytest.fixture
def config(sqlite_config: RegistryConfig) -> RegistryConfig:
    return sqlite_config.model_copy(update={"promotion": PromotionConfig(**QUICK)})  # type: ignore[arg-type]


def register(config: RegistryConfig, io: StageIO, **promotion: Any) -> dict[str, Any]:
    """Register under a changed policy; what ``registration.json`` says."""
    policy = config.promotion.model_copy(update=promotion)
    register_model(config.model_copy(update={"promotion": policy}), io)
    said: dict[str, Any] = json.loads((io.output / "registration.json").read_text(encoding="utf-8"))
    return said


def champion(client: Any) -> str:
    return str(client.get_registered_model("words").aliases["champion"])


def files_of(client: Any, version: str) -> Path:
    """Where the registry keeps the vectors of a version."""
    return Path(client.get_model_version_download_uri("words", version)) / "artifacts" / "vectors"


def test_a_life_of_a_model(finished: FinishedModel, config: RegistryConfig, client: Any) -> None:
    first = register(config, finished(0.4, benchmarks=BOTH))
    assert (first["outcome"], first["gate"], first["champion_after"]) == ("first", {}, "1")

    worse = register(config, finished(0.1, benchmarks=BOTH))
    assert worse["outcome"] == "keep" and worse["champion_after"] == "1"
    assert worse["verdict"].startswith("version 1 stays champion, version 2 is worse: mean of 2 -0.")

    better = register(config, finished(0.8, benchmarks=BOTH))
    assert better["outcome"] == "promote" and better["champion_after"] == "3"
    assert better["verdict"].startswith("version 3 is champion, better than version 1: mean of 2 +0.")
    assert better["verdict"].endswith("; likewise Wordsim353, Men")

    lucky = register(config, finished(0.805, benchmarks=BOTH))
    assert lucky["outcome"] == "not separable" and lucky["champion_after"] == "3"
    assert lucky["verdict"].startswith("version 4 stays challenger, not separable from champion version 3: mean of 2 ")
    assert "would be found with a power of 80 %" in lucky["verdict"]
    assert champion(client) == "3"


def test_the_verdict_stands_wherever_somebody_looks(
    finished: FinishedModel, config: RegistryConfig, client: Any, tmp_path: Path
) -> None:
    register(config, finished(0.4))
    io = finished(0.8)
    said = register(config, io)
    (test,) = said["gate"]["tests"]
    assert test["name"] == "wordsim353" and test["difference"] == pytest.approx(test["challenger"] - test["champion"])
    assert test["lower"] < test["difference"] < test["upper"] and test["p_holm"] == test["p"] < 0.05
    assert [guard["name"] for guard in said["gate"]["guards"]] == ["coverage", "size", "latency"]
    assert said["gate"]["policy"]["n_resamples"] == 400
    version = client.get_model_version("words", "2")
    assert version.tags["gate.verdict"] == "promote"
    assert version.tags["gate.difference"].startswith(f"{test['difference']:+.4f} (")
    assert version.tags["gate.p"] == f"{test['p_holm']:.2g}"
    assert version.description.startswith(said["verdict"]) and "| Wordsim353 | 0." in version.description
    assert (test["n_champion_covered"], test["n_challenger_covered"], test["n_common"]) == (300, 300, 300)
    three_ways = f"| Wordsim353 | {test['champion']:.4f} → {test['challenger']:.4f} | 300 → 300 of 300 | "
    assert three_ways in version.description
    card = Path(client.download_artifacts(said["run_id"], "card.md", str(tmp_path))).read_text(encoding="utf-8")
    assert three_ways in card
    stored = Path(client.download_artifacts(said["run_id"], "gate.json", str(tmp_path)))
    assert json.loads(stored.read_text(encoding="utf-8")) == said["gate"]
    assert said["verdict"] in client.get_run(said["run_id"]).data.tags["mlflow.note.content"]


def test_training_again_is_no_improvement(finished: FinishedModel, config: RegistryConfig, client: Any) -> None:
    register(config, finished(0.4, recipe="a"))
    io = finished(0.8, recipe="a")
    said = register(config, io)
    assert said["outcome"] == "not separable" and champion(client) == "1"
    assert (
        "not separable from champion version 1: it differs from it in the seed alone (Wordsim353 +0."
        in (said["verdict"])
    )
    copied = StageIO(inputs=io.inputs, output=io.output, seed=io.seed, lineage=io.lineage)
    client.set_registered_model_alias("words", "champion", "2")
    assert "it holds the same vectors (Wordsim353 +0.0000," in register(config, copied)["verdict"]


def test_recipes_differ_in_everything_but_seeds(finished: FinishedModel) -> None:
    one, seed, sources = finished(0.4, recipe="a"), finished(0.4, recipe="a"), finished(0.4, recipe="a", sources=("x",))
    other = finished(0.4, recipe="b")
    digests = [recipe_digest(io.lineage) for io in (one, seed, sources, other)]
    assert digests[0] == digests[1] and len(set(digests)) == 3


def test_trainings_of_one_recipe_are_averaged(finished: FinishedModel, config: RegistryConfig, client: Any) -> None:
    register(config, finished(0.4, recipe="a"))
    register(config, finished(0.4, recipe="a"))
    policy = {"min_replicas": 2}
    io = finished(0.8, recipe="b")
    alone = register(config, io, **policy)
    assert (
        alone["outcome"] == "not separable" and "in 1 of the 2 trainings that the policy asks for" in alone["verdict"]
    )
    assert alone["gate"]["replicas"] == {"champion": ["1", "2"], "challenger": ["3"]}
    twice = register(config, io, **policy)
    assert twice["gate"]["replicas"]["challenger"] == ["4"], "a training that is registered twice is one training"
    both = register(config, finished(0.8, recipe="b"), **policy)
    assert both["outcome"] == "promote" and champion(client) == "5"
    assert both["gate"]["replicas"] == {"champion": ["1", "2"], "challenger": ["5", "4"]}
    assert both["gate"]["tests"][0]["standard_error"] < alone["gate"]["tests"][0]["standard_error"]
    limited = register(config, finished(0.8, recipe="c"), max_replicas=1)
    assert limited["gate"]["replicas"] == {"champion": ["5"], "challenger": ["6"]}


# --- a champion that was scored on something else ---------------------------------------------------------------------


def with_own_answers(io: StageIO, digest: str = "mine") -> StageIO:
    """Give a finished model the items that its vectors answer: all pairs of its ten words."""
    vectors = WordVectors.load(io.inputs["train"] / "vectors")
    pairs = list(itertools.combinations(vectors.words, 2))
    ratings = tuple(np.random.default_rng(1).normal(size=len(pairs)).tolist())
    table = Benchmark("wordsim353", "Mine", *zip(*pairs, strict=True), ratings, digest, (-3.0, 3.0))  # type: ignore[arg-type]
    write_items(io.inputs["evaluate"] / ITEMS_NAME, [benchmark_items(vectors, table)])
    return io


def test_champion_is_scored_on_the_new_items(finished: FinishedModel, config: RegistryConfig, client: Any) -> None:
    before = with_own_answers(finished(0.4))
    register(config, before)
    fresh = register(config, with_own_answers(finished(0.4), "mine"))["gate"]["tests"][0]
    # Which of these random models is the better one is nobody's business here.
    client.set_registered_model_alias("words", "champion", "1")
    changed = register(config, with_own_answers(finished(0.4), "other bytes"))["gate"]["tests"][0]
    assert changed["champion"] == pytest.approx(fresh["champion"], abs=1e-12), "the same pairs, answered by its vectors"
    for tag in ("vecmill.recipe", "vecmill.n_bytes", "vecmill.space_id"):
        client.delete_model_version_tag("words", "1", tag)
    run_id = client.get_model_version("words", "1").run_id
    artifacts = Path(client.get_run(run_id).info.artifact_uri)
    for spoil in (lambda path: path.write_bytes(b"old"), lambda path: path.unlink()):
        client.set_registered_model_alias("words", "champion", "1")
        spoil(artifacts / ITEMS_NAME)
        said = register(config, with_own_answers(finished(0.4), "mine"))
        assert said["gate"]["tests"][0]["champion"] == pytest.approx(fresh["champion"], abs=1e-12)


def _nan(folder: Path) -> None:
    np.save(folder / "vectors.npy", np.full((10, 4), np.nan, np.float32))


@pytest.mark.parametrize(
    ("spoil", "why"), [(shutil.rmtree, "the vectors of version 1 of words are missing from /"), (_nan, "nan")]
)
def test_a_champion_that_cannot_be_read_stops_everything(
    finished: FinishedModel,
    config: RegistryConfig,
    client: Any,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    why: str,
) -> None:
    register(config, with_own_answers(finished(0.4)))
    folder = files_of(client, "1")
    shutil.copytree(folder, tmp_path / "kept")
    spoil(folder)
    io = with_own_answers(finished(0.4), "other bytes")
    with pytest.raises(RegistryError, match="champion version 1 of words cannot be compared with: ") as caught:
        register(config, io)
    assert why in str(caught.value) and "restore the files of version 1" in str(caught.value)
    assert champion(client) == "1" and "vecmill.verdict" not in client.get_model_version("words", "2").tags
    assert client.get_run(client.get_model_version("words", "2").run_id).info.status == "FAILED"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(tmp_path / "kept", folder)
    assert register(config, io)["model_version"] == "2", "finished, not made anew"


# --- nothing to tell them by ------------------------------------------------------------------------------------------


def test_no_word_in_common(finished: FinishedModel, config: RegistryConfig, client: Any) -> None:
    register(config, finished(None))
    said = register(config, finished(0.9))
    assert said["outcome"] == "not separable" and champion(client) == "1"
    assert said["verdict"] == (
        "version 2 stays challenger, not separable from champion version 1: no benchmark has more than 0 pairs that "
        "both have vectors for, and a comparison needs 30; evaluate on benchmarks in the language of both, or move the "
        "alias by hand (Aliases on the page of version 2 in MLflow)"
    )


def test_one_pair(finished: FinishedModel, config: RegistryConfig, client: Any) -> None:
    register(config, finished(0.4, n_items=1))
    said = register(config, finished(0.9, n_items=1))
    assert said["outcome"] == "not separable" and champion(client) == "1"
    assert (
        "there is nothing to compare on (wordsim353: 1 pairs of different words; a comparison needs 30 (min_items)); "
        "evaluate on a benchmark with 30 rated pairs of different words or more and ratings that differ, or move the "
        "alias by hand"
    ) in said["verdict"]


# --- guards -----------------------------------------------------------------------------------------------------------


def refused_by(config: RegistryConfig, io: StageIO, **promotion: Any) -> str:
    said = register(config, io, **promotion)
    assert said["outcome"] == "keep" and said["champion_after"] == "1"
    start, _, guard = said["verdict"].partition("), but ")
    assert start.startswith("version 1 stays champion: version 2 is better (Wordsim353 +0.")
    return str(guard)


def test_coverage_guard(finished: FinishedModel, config: RegistryConfig) -> None:
    register(config, finished(0.4))
    assert refused_by(config, finished(0.9, n_unknown=30)) == (
        "covers 90.0 % of the benchmarks' pairs against 100.0 %; 2 points less are allowed (coverage_margin)"
    )
    assert register(config, finished(0.9, n_unknown=30), coverage_margin=0.1)["outcome"] == "promote"


def test_size_guard(finished: FinishedModel, config: RegistryConfig) -> None:
    register(config, finished(0.4))
    assert refused_by(config, finished(0.9), size_ratio=0.5).endswith("; 0.5 times as much is allowed (size_ratio)")


def test_latency_guard(
    finished: FinishedModel, config: RegistryConfig, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(config, finished(0.4))
    monkeypatch.setattr(guards, "_query_seconds", lambda models: [0.010, 0.050])
    assert refused_by(config, finished(0.9)) == (
        "takes 50.0 ms for a neighbour query against 10.0; 4 times as long is allowed (latency_ratio)"
    )
    monkeypatch.setattr(guards, "_query_seconds", lambda models: [0.0001, 0.0010])
    assert register(config, finished(0.9))["outcome"] == "promote", "nobody notices a millisecond"


def test_latency_is_not_taken_where_nobody_asks(finished: FinishedModel, config: RegistryConfig) -> None:
    register(config, finished(0.4))
    said = register(config, finished(0.9), latency_ratio=None)
    assert said["outcome"] == "promote" and "latency" not in [each["name"] for each in said["gate"]["guards"]]


def test_queries_are_timed_in_turns() -> None:
    small, large = (
        WordVectors([f"w{at}" for at in range(n)], np.random.default_rng(n).normal(size=(n, 50)).astype(np.float32))
        for n in (20, 40_000)
    )
    seconds = guards._query_seconds((small, large))
    assert 0 < seconds[0] < seconds[1]


def test_benchmark_guard_asks_to_be_shown(finished: FinishedModel, config: RegistryConfig) -> None:
    register(config, finished(0.4))
    assert refused_by(config, finished(0.9), guard_benchmarks=("wordsim353",), benchmark_margin=-0.9).startswith(
        "may be worse on wordsim353 by up to 0.0000; the margin is -0.9"
    ), "a margin that asks for a gain, which no configuration can hold"
    assert register(config, finished(0.9), guard_benchmarks=("wordsim353",))["outcome"] == "promote"


def test_benchmark_guard_on_nothing_comparable(finished: FinishedModel, config: RegistryConfig) -> None:
    comparison = guards.Comparison((), 0.05, {"men": "the ratings of all 40 pairs are equal"}, 1, 1, 0)
    (guard,) = guards.benchmark_guards(PromotionConfig(guard_benchmarks=("men",)), comparison)
    assert not guard.passed
    assert guard.text == "cannot be shown to be no worse on men: the ratings of all 40 pairs are equal"


def test_unknown_guard_benchmark_is_refused_before_anything_is_registered(
    finished: FinishedModel, config: RegistryConfig, client: Any
) -> None:
    with pytest.raises(ConfigError) as caught:
        register(config, finished(0.4), guard_benchmarks=("mem",))
    assert str(caught.value) == (
        "registry.promotion.guard_benchmarks names 'mem', on which nothing was evaluated. Expected: one of wordsim353. "
        "What to do: correct the name, or add the benchmark to evaluate.benchmarks."
    )
    assert client.search_registered_models() == []


# --- benchmarks in the corpus -----------------------------------------------------------------------------------------

LEAK = "was trained on text that holds 7 of 300 pairs of Wordsim353"


def test_a_better_version_that_read_the_benchmark_stays_challenger(
    finished: FinishedModel, config: RegistryConfig, client: Any
) -> None:
    register(config, finished(0.4, n_leaked=0))
    said = register(config, finished(0.8, n_leaked=7))
    assert said["outcome"] == "keep" and champion(client) == "1"
    assert said["verdict"].endswith(
        f"but {LEAK}; take those documents out of the corpus (contamination.parquet lists them), leave the benchmark "
        "out of evaluate.benchmarks, or allow it (registry.promotion.contamination)"
    )
    assert said["gate"]["contamination"] == {"champion": "", "challenger": "7 of 300 pairs of Wordsim353"}
    assert client.get_model_version("words", "2").tags["contamination"] == "7 of 300 pairs of Wordsim353"
    files = {each.path for each in client.list_artifacts(said["run_id"])}
    assert {"contamination.json", "contamination.parquet"} <= files
    clean = register(config, finished(0.8, n_leaked=0))
    assert clean["outcome"] == "promote" and "trained on text that holds" not in clean["verdict"]
    assert {"name": "contamination", "passed": True}.items() <= clean["gate"]["guards"][1].items()


def test_allowed_it_is_remarked_all_the_same(
    finished: FinishedModel, config: RegistryConfig, client: Any, tmp_path: Path
) -> None:
    register(config, finished(0.4, n_leaked=0))
    said = register(config, finished(0.8, n_leaked=7), contamination="allow")
    assert said["outcome"] == "promote" and said["verdict"].endswith(f"; version 2 {LEAK}")
    assert said["gate"]["text"] == said["verdict"]
    card = Path(client.download_artifacts(said["run_id"], "card.md", str(tmp_path))).read_text(encoding="utf-8")
    assert "**It has read answers that it is judged by.**" in card
    assert "| Wordsim353 | 7 of 300 | 7 | 0 | 0 | `d0c` |" in card and f"; version 2 {LEAK}" in card
    page = Path(client.download_artifacts(said["run_id"], "report.html", str(tmp_path))).read_text(encoding="utf-8")
    assert "It has read answers that it is judged by" in page and "<code>d0c</code>" in page
    assert f'">release</th><td>{said["space"]["text"]}</td>' in page
    # Whoever has to beat it is told, too.
    after = register(config, finished(0.805, n_leaked=0))
    assert after["outcome"] == "not separable" and after["verdict"].endswith(f"; champion version 2 {LEAK}")


def test_a_first_version_and_the_higher_score_are_remarked(
    finished: FinishedModel, config: RegistryConfig, client: Any
) -> None:
    first = register(config, finished(0.4, n_leaked=7), policy="higher_score")
    assert first["outcome"] == "first" and first["verdict"].endswith(f"; version 1 {LEAK}")
    said = register(config, finished(0.8, n_leaked=7), policy="higher_score")
    assert said["outcome"] == "keep" and champion(client) == "1"
    assert f"version 2 has the higher score (mean_spearman), but {LEAK}; take those" in said["verdict"]
    assert said["verdict"].endswith(f"; champion version 1 {LEAK}")
    allowed = register(config, finished(0.8, n_leaked=7), policy="higher_score", contamination="allow")
    assert allowed["outcome"] == "promote" and f"; version 3 {LEAK}" in allowed["verdict"]


def test_looking_for_benchmarks_does_not_make_another_recipe(finished: FinishedModel) -> None:
    one, other = finished(0.4, recipe="a"), finished(0.4, recipe="a", n_leaked=0)
    assert recipe_digest(one.lineage) == recipe_digest(other.lineage)
