"""The model card: what a version is, what it was made from, how well it does and what it must not be used for.

Built from what the registry keeps of a version (its tags, and the files of its run), so that it can be written at
registration and again at any later time.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from vecmill.registry.card_facts import CardFacts, card_facts
from vecmill.registry.card_judged import contamination_section, gate_section, release_section, scores_section
from vecmill.registry.card_markdown import md_table, md_text, shown
from vecmill.registry.history import Version, find_version

CARD_NAME = "card.md"
_DESCRIPTION_CHARS = 5000  # MLflow's limit
_N_SOURCES_SHOWN = 20
_N_FAILED_RULES_SHOWN = 10
# What is known of the texts that come with vecmill's libraries; of all others their owner knows.
_LICENCES = {
    "builtin:enwiki-sample": "text of the English Wikipedia by its authors, CC BY-SA and, for most of it, GFDL; "
    "name Wikipedia and keep the licence when passing text on",
}
_UNKNOWN_LICENCE = "not stated; ask the owner of the text before passing vectors on"


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


def gist(facts: CardFacts) -> str:
    """A version in two lines."""
    train, vocabulary, ingest = (facts.metrics(stage) for stage in ("train", "vocabulary", "ingest"))
    what = f"{train.get('kind', 'word vectors')}, {shown(train.get('dim'))} dimensions"
    of = f"{shown(vocabulary.get('n_words'))} words from {shown(ingest.get('n_documents'))} documents"
    where = f"`{CARD_NAME}` among the files of its run, or `vecmill registry card {facts.version.number}`"
    return f"{what}, {of}. Card: {where}."


def model_card(facts: CardFacts) -> str:
    """The card as Markdown."""
    name, number = facts.model_name, facts.version.number
    parts = [
        f"# {md_text(name)}, version {number}",
        f"> {md_text(facts.verdict)}" if facts.verdict else "",
        _at_a_glance(facts),
        "## Data",
        _data(facts),
        "## Data contract",
        _contract(facts),
        "## Vocabulary",
        _vocabulary(facts),
        "## Scores",
        scores_section(facts),
        "## Benchmarks in the corpus",
        contamination_section(facts),
        *(["## Verdict", gate_section(facts.gate)] if facts.gate else []),
        *(["## Vector space", release_section(facts)] if facts.release else []),
        "## Limits",
        _limits(facts),
        "## How to load it",
        _loading(facts),
        "## Where it came from",
        _origin(facts),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _at_a_glance(facts: CardFacts) -> str:
    train, tags = facts.metrics("train"), facts.version.tags
    config = facts.config("train")
    seed = facts.lineage.get("train", {}).get("parts", {}).get("seed")
    rows = {
        "registered": facts.version.made,
        "trainer": " ".join(str(each) for each in (train.get("kind"), train.get("mode")) if each),
        "vectors": f"{shown(train.get('n_words'))} words × {shown(train.get('dim', config.get('dim')))} dimensions",
        "epochs": shown(train.get("n_epochs", config.get("epochs"))),
        "final loss": shown(train.get("final_loss")),
        "seed": "" if seed is None else str(seed),
        "vector space": tags.get("vecmill.space_id", ""),
        "data": tags.get("vecmill.data_digest", ""),
    }
    return md_table(("", ""), [(name, value) for name, value in rows.items() if value and value != "–"])


def _data(facts: CardFacts) -> str:
    config, metrics = facts.config("ingest"), facts.metrics("ingest")
    sources = [str(each) for each in config.get("sources", [])]
    if not sources:
        return "Not recorded."
    rows = [(f"`{each}`", _LICENCES.get(each, _UNKNOWN_LICENCE)) for each in sources[:_N_SOURCES_SHOWN]]
    table = md_table(("source", "licence"), rows)
    if len(sources) > _N_SOURCES_SHOWN:
        table += f"\n\nand {len(sources) - _N_SOURCES_SHOWN:,} more sources."
    files = facts.lineage["ingest"].get("parts", {}).get("external", {})
    cleaning = ", ".join(config.get("cleaning", [])) or "none"
    return (
        f"{table}\n\n{shown(metrics.get('n_documents'))} documents, {shown(metrics.get('n_chars'))} characters, from "
        f"{len(files):,} files. Cleaning steps: {cleaning}."
    )


def _contract(facts: CardFacts) -> str:
    report = facts.contract
    if not report:
        return "Not recorded."
    said = "kept" if report.get("passed") else "broken"
    lines = [
        f"{said.capitalize()}: {shown(report.get('n_rules'))} rules, {shown(report.get('n_failed_rules'))} not met; "
        f"{shown(report.get('n_quarantined'))} of {shown(report.get('n_documents'))} documents were left out."
    ]
    failed = [rule for rule in report.get("rules", []) if not rule.get("passed", True)]
    lines += [
        f"- `{rule.get('rule')}` ({rule.get('severity')}): {md_text(rule.get('meaning', ''))}"
        for rule in failed[:_N_FAILED_RULES_SHOWN]
    ]
    return "\n".join(lines)


def _vocabulary(facts: CardFacts) -> str:
    metrics, config = facts.metrics("vocabulary"), facts.config("vocabulary")
    if not metrics:
        return "Not recorded."
    kept = metrics.get("coverage_frac")
    share = "" if kept is None else f", {100 * kept:.1f} % of all tokens"
    case = "lower case" if config.get("lowercase") else "case kept"
    return (
        f"{shown(metrics.get('n_words'))} of {shown(metrics.get('n_types'))} word types{share}; words seen at least "
        f"{shown(config.get('min_count'))} times, {case}. A word outside it has no vector."
    )


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
    if facts.metrics("train").get("mode") == "hogwild":
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
            str(manifest.get("finished_at", ""))[:19],
        )
        for stage, manifest in sorted(facts.lineage.items(), key=lambda each: str(each[1].get("finished_at", "")))
    ]
    said = f"`vecmill registry lineage {facts.version.number} --documents` lists the documents."
    return f"{md_table(('stage', 'artifact', 'content', 'finished'), rows)}\n\nRun `{facts.version.run_id}`. {said}"
