"""The gate: is a new version better than the champion, or was it luckier? The method stands in docs/promotion.md."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vecmill.errors import ConfigError, FormatError, RegistryError
from vecmill.evaluation.comparison import Comparison, Separation, compare
from vecmill.evaluation.items import ITEMS_NAME, ModelItems, read_items, rescored
from vecmill.registry.config import PromotionConfig, RegistryConfig
from vecmill.registry.guards import (
    READ,
    Guard,
    benchmark_guards,
    contamination_guard,
    coverage_guard,
    folder_bytes,
    latency_guard,
    size_guard,
)
from vecmill.registry.promotion import TECHNICAL, Contender, Verdict, decide, shortened
from vecmill.registry.stored import stored_file, stored_vectors
from vecmill.store.digest import digest_json
from vecmill.vectors.word_vectors import WordVectors

GATE_NAME = "gate.json"
RECIPE_TAG = f"{TECHNICAL}recipe"
SIZE_TAG = f"{TECHNICAL}n_bytes"
# Not a technical one: whoever looks at the list should see it.
CONTAMINATION_TAG = "contamination"
VERDICT_SHOWN = "verdict"
FIRST, PROMOTE, KEEP, NOT_SEPARABLE = "first", "promote", "keep", "not separable"
_SPACE_TAG = f"{TECHNICAL}space_id"
# Of a stage, what belongs to one training and not to its recipe.
_NOT_RECIPE = ("seed", "inputs")
# Stages that look at a model or its corpus and have no part in making it.
_JUDGING = ("evaluate", "contamination")


@dataclass(frozen=True)
class Challenger:
    """The new version, as it lies on this host.

    Attributes
    ----------
    contender : number, score and benchmarks
    items : items.parquet of its evaluation
    vectors : folder of its vectors
    recipe : as :func:`recipe_digest` gives it
    space_id : stamp of its vectors, by which a copy is told from another training
    contamination : which benchmarks its corpus holds, in words; empty for none, None where nobody looked
    """

    contender: Contender
    items: Path
    vectors: Path
    recipe: str
    space_id: str
    contamination: str | None = None


def recipe_digest(lineage: Mapping[str, Mapping[str, Any]]) -> str:
    """What a model was made from, apart from seeds: equal for trainings that are replicas of each other.

    Parameters
    ----------
    lineage : manifests of the model's training and of all before it, by stage; stages that judge do not count
    """
    parts = {stage: manifest["parts"] for stage, manifest in lineage.items() if stage not in _JUDGING}
    kept = {stage: {k: v for k, v in each.items() if k not in _NOT_RECIPE} for stage, each in parts.items()}
    return shortened(digest_json(kept))


def check_policy(config: RegistryConfig, benchmarks: Mapping[str, str]) -> None:
    """Refuse a policy that names benchmarks which the evaluation does not have.

    Raises
    ------
    ConfigError : the message names the first
    """
    for name in config.promotion.guard_benchmarks:
        if name not in benchmarks:
            raise ConfigError(
                f"registry.promotion.guard_benchmarks names {name!r}, on which nothing was evaluated",
                expected="one of " + ", ".join(sorted(benchmarks)),
                todo="correct the name, or add the benchmark to evaluate.benchmarks",
            )


def judge(client: Any, config: RegistryConfig, new: Challenger, champion: Contender | None) -> Verdict:
    """Decide whether a new version becomes champion.

    Parameters
    ----------
    client : an ``mlflow.MlflowClient``; what it raises passes through
    champion : the version that carries the alias now, None if there is none

    Raises
    ------
    RegistryError : what the registry keeps of the champion cannot be read; nothing has been decided or moved
    """
    policy = config.promotion
    if champion is None or champion.version == new.contender.version:
        return _remarked(replace(decide(config.primary_metric, new.contender, champion), outcome=FIRST), new, "")
    # What the champion has read makes it as hard to beat as what the new version has read makes that one look good.
    read = client.get_model_version(config.model_name, champion.version).tags.get(CONTAMINATION_TAG, "")
    remark = f"; champion version {champion.version} {READ} {read}" if read else ""
    if policy.policy == "higher_score":
        return _remarked(_by_score(config, new, champion), new, remark)
    with tempfile.TemporaryDirectory(prefix="vecmill-gate-") as folder:
        sides = _Sides(client, config.model_name, new, champion.version, Path(folder), policy)
        with _readable(config.model_name, champion.version):
            champion_items, champion_versions = sides.champion()
        challenger_items, challenger_versions = sides.challenger()
        comparison = compare(champion_items, challenger_items, policy)
        guards = [coverage_guard(policy, champion_items[0], challenger_items[0]), *benchmark_guards(policy, comparison)]
        if new.contamination is not None:
            guards.append(contamination_guard(policy, new.contamination))
        with _readable(config.model_name, champion.version):
            guards.append(size_guard(policy, sides.champion_bytes(), folder_bytes(new.vectors)))
            if comparison.gains and not comparison.losses and not sides.same_recipe:
                latency = latency_guard(policy, sides.champion_vectors(), WordVectors.load(new.vectors))
                guards += [latency] if latency else []
    outcome, text = _decision(policy, new.contender.version, champion.version, comparison, guards, sides)
    gate = {
        "verdict": outcome,
        "text": text,
        "version": new.contender.version,
        "champion": champion.version,
        "same_recipe": sides.same_recipe,
        "replicas": {"champion": champion_versions, "challenger": challenger_versions},
        "tests": [asdict(each) for each in comparison.separations],
        "left_out": comparison.left_out,
        "guards": [asdict(each) for each in guards],
        "contamination": {"champion": read, "challenger": new.contamination},
        "policy": policy.model_dump(mode="json"),
    }
    verdict = _remarked(Verdict(outcome == PROMOTE, text, outcome, gate), new, remark)
    return replace(verdict, gate={**gate, "text": verdict.text})


def _by_score(config: RegistryConfig, new: Challenger, champion: Contender) -> Verdict:
    found = decide(config.primary_metric, new.contender, champion)
    guard = contamination_guard(config.promotion, new.contamination or "")
    if found.promote and not guard.passed:
        return Verdict(
            False,
            f"version {champion.version} stays champion: version {new.contender.version} has the higher score "
            f"({config.primary_metric}), but {guard.text}",
            KEEP,
        )
    return replace(found, outcome=PROMOTE if found.promote else KEEP)


def _remarked(verdict: Verdict, new: Challenger, remark: str) -> Verdict:
    """The verdict, with what both sides have read of the benchmarks; nobody passes the gate without that."""
    if new.contamination and new.contamination not in verdict.text:
        remark = f"; version {new.contender.version} {READ} {new.contamination}{remark}"
    return replace(verdict, text=verdict.text + remark)


def gate_tags(verdict: Verdict) -> dict[str, str]:
    """The verdict as tags of the version, readable in MLflow's list."""
    tags = {VERDICT_SHOWN: verdict.outcome, "gate.verdict": verdict.outcome}
    if verdict.gate.get("tests"):
        first = verdict.gate["tests"][0]
        tags["gate.difference"] = (
            f"{first['difference']:+.4f} ({first['lower']:+.4f} to {first['upper']:+.4f}) in {first['title']}"
        )
        tags["gate.p"] = f"{first['p_holm']:.2g}"
    return tags


def gate_markdown(verdict: Verdict) -> str:
    """The verdict, and below it a table of what was compared."""
    tests, guards = verdict.gate.get("tests", []), verdict.gate.get("guards", [])
    lines = [verdict.text]
    if tests:
        lines += [
            "",
            "| benchmark | champion | challenger | difference | interval | p (Holm) | power | detectable |",
            "| --- | ---: | ---: | ---: | --- | ---: | ---: | ---: |",
            *(
                f"| {each['title']} | {each['champion']:.4f} | {each['challenger']:.4f} | {each['difference']:+.4f} "
                f"| {each['lower']:+.4f} to {each['upper']:+.4f} | {each['p_holm']:.2g} | {each['power']:.2f} "
                f"| {each['detectable']:.4f} |"
                for each in tests
            ),
        ]
        lines += ["", *coverage_lines(tests)]
    if guards:
        lines += ["", *(f"- guard {each['name']}: {'held' if each['passed'] else each['text']}" for each in guards)]
    return "\n".join(lines)


def coverage_lines(tests: Sequence[Mapping[str, Any]]) -> list[str]:
    """A table of gate.json's tests: scores on the pairs that each side knows, on all, and on those that both know."""

    def both(each: Mapping[str, Any], figure: str) -> str:
        values = each[f"champion{figure}"], each[f"challenger{figure}"]
        return " → ".join("–" if value is None else f"{value:.4f}" for value in values)

    n_lost = tests[0].get("n_lost", 0)  # a verdict of an earlier version does not say
    lost = f"{n_lost:,} pairs that the champion covers and the challenger has lost count against it."
    return [
        "| champion → challenger | covered pairs | covered | all pairs (decides) | common pairs | common |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
        *(
            f"| {each['title']} | {both(each, '_covered')} | {each['n_champion_covered']:,} → "
            f"{each['n_challenger_covered']:,} of {each['n_items']:,} | {both(each, '')} | {both(each, '_common')} "
            f"| {each['n_common']:,} |"
            for each in tests
        ),
        *(["", lost] if n_lost else []),
    ]


class _Sides:
    """What the two sides of the comparison consist of, brought here when it is needed."""

    def __init__(
        self, client: Any, name: str, new: Challenger, champion: str, folder: Path, policy: PromotionConfig
    ) -> None:
        self._client, self._name, self._new, self._folder, self._policy = client, name, new, folder, policy
        self._champion = client.get_model_version(name, champion)
        self._items = read_items(new.items)
        self._vectors: WordVectors | None = None
        self.same_vectors = self._champion.tags.get(_SPACE_TAG) == new.space_id
        self.same_recipe = self.same_vectors or self._champion.tags.get(RECIPE_TAG) == new.recipe

    def champion(self) -> tuple[list[ModelItems], list[str]]:
        """Items and versions of the champion's side: itself, then its replicas."""
        own = self._stored_items(self._champion) or {
            name: rescored(self.champion_vectors(), items) for name, items in self._items.items()
        }
        recipe, space_id = self._champion.tags.get(RECIPE_TAG), self._champion.tags.get(_SPACE_TAG)
        return self._with_replicas(own, str(self._champion.version), recipe, space_id)

    def challenger(self) -> tuple[list[ModelItems], list[str]]:
        """The same of the new version."""
        new = self._new
        return self._with_replicas(self._items, new.contender.version, new.recipe, new.space_id)

    def champion_vectors(self) -> WordVectors:
        """The champion's vectors, from its stored model."""
        if self._vectors is None:
            self._vectors = WordVectors.load(self._champion_folder())
        return self._vectors

    def champion_bytes(self) -> int:
        """Size of the champion's vectors."""
        tag = self._champion.tags.get(SIZE_TAG, "")
        return int(tag) if tag.isdecimal() else folder_bytes(self._champion_folder())

    def _champion_folder(self) -> Path:
        return stored_vectors(self._client, self._name, str(self._champion.version), self._folder / "champion")

    def _with_replicas(
        self, own: ModelItems, version: str, recipe: str | None, space_id: str | None
    ) -> tuple[list[ModelItems], list[str]]:
        items, versions, seen = [own], [version], {space_id}
        if recipe is None or self.same_recipe:
            return items, versions
        query = f"name = '{self._name}' and tags.`{RECIPE_TAG}` = '{recipe}'"
        others = self._client.search_model_versions(query)
        for each in sorted(others, key=lambda version: int(version.version), reverse=True):
            if len(items) == self._policy.max_replicas:
                break
            # A training that was registered twice is one training.
            if each.tags.get(_SPACE_TAG) in seen or each.status != "READY":
                continue
            found = self._stored_items(each)
            if found is not None:
                items.append(found)
                versions.append(str(each.version))
                seen.add(each.tags.get(_SPACE_TAG))
        return items, versions

    def _stored_items(self, version: Any) -> ModelItems | None:
        """The items of a version, None if it has none or was evaluated on other benchmarks."""
        folder = self._folder / str(version.version)
        folder.mkdir(exist_ok=True)
        path = stored_file(self._client, version.run_id, ITEMS_NAME, folder)
        try:
            stored = read_items(path) if path else {}
        except FormatError:
            return None  # another version of vecmill wrote it; the vectors can be scored again
        wanted = {name: (items.digest, len(items)) for name, items in self._items.items()}
        found = {name: (items.digest, len(items)) for name, items in stored.items() if name in wanted}
        return {name: stored[name] for name in wanted} if found == wanted else None


@contextmanager
def _readable(model_name: str, version: str) -> Iterator[None]:
    """Say of files that lie in the registry what is to be done about them."""
    try:
        yield
    except FormatError as error:
        raise RegistryError(
            f"champion version {version} of {model_name} cannot be compared with: {error.found}",
            expected="the vectors that were registered",
            todo=f"restore the files of version {version}, or point the alias champion to another version by hand; "
            "then run again",
        ) from error


def _decision(
    policy: PromotionConfig,
    new: str,
    old: str,
    comparison: Comparison,
    guards: Sequence[Guard],
    sides: _Sides,
) -> tuple[str, str]:
    """Outcome and sentence."""
    stays = f"version {new} stays challenger, not separable from champion version {old}"
    by_hand = f"or move the alias by hand (Aliases on the page of version {new} in MLflow)"
    if not comparison.separations:
        reasons = "; ".join(f"{name}: {why}" for name, why in comparison.left_out.items())
        return NOT_SEPARABLE, (
            f"{stays}: there is nothing to compare on ({reasons}); evaluate on a benchmark with {policy.min_items} "
            f"rated pairs of different words or more and ratings that differ, {by_hand}"
        )
    if comparison.n_common < policy.min_items:
        return NOT_SEPARABLE, (
            f"{stays}: no benchmark has more than {comparison.n_common} pairs that both have vectors for, and a "
            f"comparison needs {policy.min_items}; evaluate on benchmarks in the language of both, {by_hand}"
        )
    level = f"{100 * (1 - 2 * comparison.alpha):g} % interval"
    first, gains, losses = comparison.separations[0], comparison.gains, comparison.losses
    if sides.same_recipe:
        why = "it holds the same vectors" if sides.same_vectors else "it differs from it in the seed alone"
        return NOT_SEPARABLE, f"{stays}: {why} ({_said(first, first.p_holm, level)})"
    if losses:
        shown = _said(losses[0], losses[0].p_worse_holm, level)
        better = f", although better: {_names(gains)}" if gains else ""
        return KEEP, f"version {old} stays champion, version {new} is worse: {shown}{_more(losses)}{better}"
    broken = [each.text for each in guards if not each.passed]
    if gains:
        shown = _said(gains[0], gains[0].p_holm, level)
        if broken:
            return KEEP, f"version {old} stays champion: version {new} is better ({shown}), but {'; '.join(broken)}"
        if comparison.n_challenger < policy.min_replicas:
            return NOT_SEPARABLE, (
                f"version {new} stays challenger: better so far ({shown}), in {comparison.n_challenger} of the "
                f"{policy.min_replicas} trainings that the policy asks for; run again with another `replica`"
            )
        return PROMOTE, f"version {new} is champion, better than version {old}: {shown}{_more(gains)}"
    return NOT_SEPARABLE, (
        f"{stays}: {_said(first, first.p_holm, level)}; a difference of {first.detectable:.4f} would be found with a "
        f"power of {100 * policy.wanted_power:g} %"
    )


def _said(each: Separation, p: float, level: str) -> str:
    return f"{each.title} {each.difference:+.4f}, {level} {each.lower:+.4f} to {each.upper:+.4f}, p {p:.2g}"


def _names(separations: Sequence[Separation]) -> str:
    return ", ".join(each.title for each in separations)


def _more(separations: Sequence[Separation]) -> str:
    return f"; likewise {_names(separations[1:])}" if separations[1:] else ""
