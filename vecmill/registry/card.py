"""The model card: what a version is, what it was made from, how well it does and what it must not be used for.

Built from what the registry keeps of a version (its tags, and the files of its run), so that it can be written at
registration and again at any later time.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vecmill.registry.gate import coverage_lines
from vecmill.registry.history import Version, find_version

CARD_NAME = "card.md"
_FILES = ("scores.json", "gate.json", "release.json", "contamination.json")
_DESCRIPTION_CHARS = 5000  # MLflow's limit
# Of gate.json's tests, with the headings they get.
_TEST_COLUMNS = {
    "title": "benchmark",
    "champion": "champion",
    "challenger": "challenger",
    "difference": "difference",
    "lower": "lower",
    "upper": "upper",
    "p_holm": "p (Holm)",
    "power": "power",
    "detectable": "smallest difference it could show",
}
_N_SOURCES_SHOWN = 20
_N_FAILED_RULES_SHOWN = 10
# What is known of the texts that come with vecmill's libraries; of all others their owner knows.
_LICENCES = {
    "builtin:enwiki-sample": "text of the English Wikipedia by its authors, CC BY-SA and, for most of it, GFDL; "
    "name Wikipedia and keep the licence when passing text on",
}
_UNKNOWN_LICENCE = "not stated; ask the owner of the text before passing vectors on"


@dataclass(frozen=True)
class CardFacts:
    """What a card is written from.

    Attributes
    ----------
    model_name, version : which version
    verdict : the sentence by which it was registered
    lineage : manifests by stage, as the run keeps them
    scores : one object a benchmark, as ``scores.json`` has them
    contract : the contract's ``report.json``
    gate, release : ``gate.json`` and ``release.json``, empty where there is none
    contamination : one object a benchmark, as ``contamination.json`` has them; None where nobody looked
    """

    model_name: str
    version: Version
    verdict: str
    lineage: Mapping[str, Mapping[str, Any]]
    scores: Sequence[Mapping[str, Any]] = ()
    contract: Mapping[str, Any] = field(default_factory=dict)
    gate: Mapping[str, Any] = field(default_factory=dict)
    release: Mapping[str, Any] = field(default_factory=dict)
    contamination: Sequence[Mapping[str, Any]] | None = None


def write_card(client: Any, model_name: str, version: str, verdict: str) -> str:
    """Log ``card.md`` to the run of a version and add its gist to the version's description; gives the card.

    ``client`` is an ``mlflow.MlflowClient``; what it raises passes through. ``verdict`` is the sentence of the gate.
    """
    found = find_version(client, model_name, str(version))
    facts = card_facts(client, model_name, found, verdict)
    card = model_card(facts)
    client.log_text(found.run_id, card, CARD_NAME)
    description = f"{found.description or verdict}\n\n{gist(facts)}"
    client.update_model_version(model_name, found.number, description=description[:_DESCRIPTION_CHARS])
    return card


def read_card(client: Any, model_name: str, version: Version) -> str:
    """The card of a version, built now where none was stored."""
    if version.run_id is not None:
        with tempfile.TemporaryDirectory(prefix="vecmill-card-") as folder:
            if any(each.path == CARD_NAME for each in client.list_artifacts(version.run_id)):
                return Path(client.download_artifacts(version.run_id, CARD_NAME, folder)).read_text(encoding="utf-8")
    return model_card(card_facts(client, model_name, version))


def card_facts(client: Any, model_name: str, version: Version, verdict: str = "") -> CardFacts:
    """Gather what the registry knows of a version; what its run lacks is left empty."""
    verdict = verdict or version.description.partition("\n")[0]
    if version.run_id is None:
        return CardFacts(model_name, version, verdict, {})
    standing = {each.path for each in client.list_artifacts(version.run_id)}
    with tempfile.TemporaryDirectory(prefix="vecmill-card-") as folder:
        files = {
            name: _json(Path(client.download_artifacts(version.run_id, name, folder)))
            for name in _FILES
            if name in standing
        }
        lineage = run_lineage(client, version.run_id) if "manifests" in standing else {}
        contract = {}
        if "contract" in standing:
            contract = _json(Path(client.download_artifacts(version.run_id, "contract/report.json", folder)))
    return CardFacts(
        model_name,
        version,
        verdict,
        lineage,
        files.get("scores.json", ()),
        contract,
        files.get("gate.json", {}),
        files.get("release.json", {}),
        files.get("contamination.json"),
    )


def run_lineage(client: Any, run_id: str) -> dict[str, dict[str, Any]]:
    """The manifests that a run keeps, by stage."""
    with tempfile.TemporaryDirectory(prefix="vecmill-manifests-") as folder:
        manifests = Path(client.download_artifacts(run_id, "manifests", folder))
        return {path.stem: _json(path) for path in sorted(manifests.glob("*.json"))}


def gist(facts: CardFacts) -> str:
    """A version in two lines."""
    train, vocabulary, ingest = (_metrics(facts, stage) for stage in ("train", "vocabulary", "ingest"))
    what = f"{train.get('kind', 'word vectors')}, {_said(train.get('dim'))} dimensions"
    of = f"{_said(vocabulary.get('n_words'))} words from {_said(ingest.get('n_documents'))} documents"
    where = f"`{CARD_NAME}` among the files of its run, or `vecmill registry card {facts.version.number}`"
    return f"{what}, {of}. Card: {where}."


def model_card(facts: CardFacts) -> str:
    """The card as Markdown."""
    name, number = facts.model_name, facts.version.number
    parts = [
        f"# {_text(name)}, version {number}",
        f"> {_text(facts.verdict)}" if facts.verdict else "",
        _at_a_glance(facts),
        "## Data",
        _data(facts),
        "## Data contract",
        _contract(facts),
        "## Vocabulary",
        _vocabulary(facts),
        "## Scores",
        _scores(facts),
        "## Benchmarks in the corpus",
        _contamination(facts),
        *(["## Verdict", _gate(facts.gate)] if facts.gate else []),
        *(["## Vector space", _release(facts)] if facts.release else []),
        "## Limits",
        _limits(facts),
        "## How to load it",
        _loading(facts),
        "## Where it came from",
        _origin(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _at_a_glance(facts: CardFacts) -> str:
    train, tags = _metrics(facts, "train"), facts.version.tags
    config = _config(facts, "train")
    seed = facts.lineage.get("train", {}).get("parts", {}).get("seed")
    rows = {
        "registered": facts.version.made,
        "trainer": " ".join(str(each) for each in (train.get("kind"), train.get("mode")) if each),
        "vectors": f"{_said(train.get('n_words'))} words × {_said(train.get('dim', config.get('dim')))} dimensions",
        "epochs": _said(train.get("n_epochs", config.get("epochs"))),
        "final loss": _said(train.get("final_loss")),
        "seed": "" if seed is None else str(seed),
        "vector space": tags.get("vecmill.space_id", ""),
        "data": tags.get("vecmill.data_digest", ""),
    }
    return _table(("", ""), [(name, value) for name, value in rows.items() if value and value != "–"])


def _data(facts: CardFacts) -> str:
    config, metrics = _config(facts, "ingest"), _metrics(facts, "ingest")
    sources = [str(each) for each in config.get("sources", [])]
    if not sources:
        return "Not recorded."
    rows = [(f"`{each}`", _LICENCES.get(each, _UNKNOWN_LICENCE)) for each in sources[:_N_SOURCES_SHOWN]]
    table = _table(("source", "licence"), rows)
    if len(sources) > _N_SOURCES_SHOWN:
        table += f"\n\nand {len(sources) - _N_SOURCES_SHOWN:,} more sources."
    files = facts.lineage["ingest"].get("parts", {}).get("external", {})
    cleaning = ", ".join(config.get("cleaning", [])) or "none"
    return (
        f"{table}\n\n{_said(metrics.get('n_documents'))} documents, {_said(metrics.get('n_chars'))} characters, from "
        f"{len(files):,} files. Cleaning steps: {cleaning}."
    )


def _contract(facts: CardFacts) -> str:
    report = facts.contract
    if not report:
        return "Not recorded."
    said = "kept" if report.get("passed") else "broken"
    lines = [
        f"{said.capitalize()}: {_said(report.get('n_rules'))} rules, {_said(report.get('n_failed_rules'))} not met; "
        f"{_said(report.get('n_quarantined'))} of {_said(report.get('n_documents'))} documents were left out."
    ]
    failed = [rule for rule in report.get("rules", []) if not rule.get("passed", True)]
    lines += [
        f"- `{rule.get('rule')}` ({rule.get('severity')}): {_text(rule.get('meaning', ''))}"
        for rule in failed[:_N_FAILED_RULES_SHOWN]
    ]
    return "\n".join(lines)


def _vocabulary(facts: CardFacts) -> str:
    metrics, config = _metrics(facts, "vocabulary"), _config(facts, "vocabulary")
    if not metrics:
        return "Not recorded."
    kept = metrics.get("coverage_frac")
    share = "" if kept is None else f", {100 * kept:.1f} % of all tokens"
    case = "lower case" if config.get("lowercase") else "case kept"
    return (
        f"{_said(metrics.get('n_words'))} of {_said(metrics.get('n_types'))} word types{share}; words seen at least "
        f"{_said(config.get('min_count'))} times, {case}. A word outside it has no vector."
    )


def _scores(facts: CardFacts) -> str:
    if not facts.scores:
        return "None."
    rows = []
    for each in facts.scores:
        lower, upper = each.get("lower"), each.get("upper")
        rows.append(
            (
                _text(each.get("title") or each.get("benchmark", "")),
                _number(each.get("spearman")),
                "–" if lower is None or upper is None else f"{_number(lower)} … {_number(upper)}",
                f"{_said(each.get('n_covered'))} of {_said(each.get('n_pairs'))}",
                _number(each.get("spearman_all_pairs")),
            )
        )
    interval = f"{100 * facts.scores[0].get('confidence', 0.95):g} % interval"
    header = ("benchmark", "Spearman, covered pairs", interval, "covered", "Spearman, all pairs")
    return (
        f"{_table(header, rows)}\n\nAll pairs: a pair with an unknown word counts as undecided, so that losing "
        "vocabulary never raises the score."
    )


def _contamination(facts: CardFacts) -> str:
    if facts.contamination is None:
        return "Not looked for."
    found = [each for each in facts.contamination if each.get("n_found")]
    if not found:
        return "None: no row of a benchmark stands in the text that it was trained on."
    rows = [
        [
            _text(each["title"]),
            f"{each['n_found']:,} of {each['n_pairs']:,}",
            *(_said(each[kind]) for kind in ("exact", "shuffled", "near")),
            ", ".join(f"`{doc_id}`" for doc_id in each["documents"]),
        ]
        for each in found
    ]
    header = ("benchmark", "pairs found", "exact rows", "shuffled", "near", "first documents")
    return (
        "**It has read answers that it is judged by.** `contamination.parquet` among the files of its run lists each "
        f"row.\n\n{_table(header, rows)}"
    )


def _gate(gate: Mapping[str, Any]) -> str:
    against = f" against version {gate['champion']}" if gate.get("champion") else ""
    parts = [f"**{_text(gate.get('verdict', ''))}**{against}"]
    tests = gate.get("tests", [])
    if tests:
        rows = [[_cell(each.get(name)) for name in _TEST_COLUMNS] for each in tests]
        parts.append(_table(list(_TEST_COLUMNS.values()), rows))
        parts += ["\n".join(coverage_lines(tests))] if "n_champion_covered" in tests[0] else []
    parts += [
        f"- guard {_text(each.get('name'))}: {'held' if each.get('passed') else _text(each.get('text'))}"
        for each in gate.get("guards", [])
    ]
    return "\n\n".join(parts)


def _release(facts: CardFacts) -> str:
    release = facts.release
    kind, _, why = str(release.get("text", "")).partition(":")
    parts = [f"**{_text(kind)}**: {_text(why)}"]
    recall, fit = release.get("recall"), release.get("map")
    if recall and fit:
        at = f"recall@{recall['n']}"
        rows = [
            ("an index of the old vectors, asked with new ones", "old_index"),
            ("an index of the new vectors, asked with old ones", "old_queries"),
        ]
        cells = [(what, _number(recall[name]), _number(recall[f"{name}_unmapped"])) for what, name in rows]
        parts += [
            _table(("", f"{at} with the map", "without"), cells),
            f"Both against the {recall['n']} nearest words among new vectors that a new vector finds; "
            f"{_said(recall['n_queries'])} words asked, {_said(recall['n_indexed'])} indexed. The old vectors' own "
            f"answers agree with the new ones' to {_number(recall['both_old'])}. Mean cosine of "
            f"{_said(fit['n_heldout'])} words that the map has not seen: {_number(fit['heldout_cosine'])}.",
        ]
    if release.get("shipped_map"):
        parts.append(
            f"The map: `vecmill registry release {facts.version.number} --save FOLDER`, then "
            "`vecmill vectors move OLD FOLDER NEW`."
        )
    return "\n\n".join(parts)


def _limits(facts: CardFacts) -> str:
    missing = sum(each.get("n_missing_words") or 0 for each in facts.scores)
    limits = [
        "One vector a spelling: senses of a word are not told apart.",
        "What the texts say of people and groups is in the vectors as well; measure it before decisions depend on it.",
        "Vectors compare within this vector space only; those of another version, retrained on the same text, do not.",
        "The scores are for the language of the benchmarks and say little about a task of your own.",
    ]
    if missing:
        limits.append(f"{missing:,} words of the benchmarks have no vector.")
    if _metrics(facts, "train").get("mode") == "hogwild":
        limits.append(
            "Trained on threads that share one model: training again gives other bytes, in a space of its own."
        )
    return "\n".join(f"- {each}" for each in limits)


def _loading(facts: CardFacts) -> str:
    return (
        "```python\nimport mlflow\n\n"
        f'model = mlflow.pyfunc.load_model("models:/{facts.model_name}/{facts.version.number}")\n'
        'model.predict(["word", "another"])                                      # vectors\n'
        'model.predict(["word"], params={"task": "neighbours", "n": 10})         # nearest words\n```\n\n'
        f"`models:/{facts.model_name}@champion` is whichever version is champion when it is loaded; a service that "
        "keeps an index of vectors names the version and changes both together."
    )


def _origin(facts: CardFacts) -> str:
    rows = [
        (
            stage,
            f"`{manifest.get('key', '')}`",
            f"`{str(manifest.get('digest', ''))[:16]}`",
            manifest.get("finished_at", ""),
        )
        for stage, manifest in sorted(facts.lineage.items(), key=lambda each: str(each[1].get("finished_at", "")))
    ]
    said = f"`vecmill registry lineage {facts.version.number} --documents` lists the documents."
    return f"{_table(('stage', 'artifact', 'content', 'finished'), rows)}\n\nRun `{facts.version.run_id}`. {said}"


def _metrics(facts: CardFacts, stage: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = facts.lineage.get(stage, {}).get("metrics", {})
    return found


def _config(facts: CardFacts, stage: str) -> Mapping[str, Any]:
    """The one section of the configuration that a stage has."""
    config = facts.lineage.get(stage, {}).get("parts", {}).get("config", {})
    return next((each for each in config.values() if isinstance(each, Mapping)), {})


def _table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines)


def _plain(value: Any) -> bool:
    return value is not None and isinstance(value, str | int | float)


def _cell(value: Any) -> str:
    return _number(value) if isinstance(value, float) else _text(value) if _plain(value) else "–"


def _said(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return _number(value) if isinstance(value, float) else "–" if value is None else _text(value)


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else "–"


def _text(value: Any) -> str:
    """A text on one line that Markdown does not take for a table or for HTML."""
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
