"""Sections of the model card on how well a version does: scores, benchmarks it has read, verdict, vector space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vecmill.registry.card_facts import CardFacts
from vecmill.registry.card_markdown import md_cell, md_number, md_table, md_text, shown
from vecmill.registry.gate import coverage_lines

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


def scores_section(facts: CardFacts) -> str:
    """A row a benchmark: the score on covered pairs with its interval, and on all pairs."""
    if not facts.scores:
        return "None."
    rows = []
    for each in facts.scores:
        lower, upper = each.get("lower"), each.get("upper")
        rows.append(
            (
                md_text(each.get("title") or each.get("benchmark", "")),
                md_number(each.get("spearman")),
                "–" if lower is None or upper is None else f"{md_number(lower)} … {md_number(upper)}",
                f"{shown(each.get('n_covered'))} of {shown(each.get('n_pairs'))}",
                md_number(each.get("spearman_all_pairs")),
            )
        )
    interval = f"{100 * facts.scores[0].get('confidence', 0.95):g} % interval"
    header = ("benchmark", "Spearman, covered pairs", interval, "covered", "Spearman, all pairs")
    return (
        f"{md_table(header, rows)}\n\nAll pairs: a pair with an unknown word counts as undecided. Pairs that the "
        "champion knows and a new version has lost count against that version in the verdict."
    )


def contamination_section(facts: CardFacts) -> str:
    """What of the benchmarks stands in the text that the version was trained on."""
    if facts.contamination is None:
        return "Not looked for."
    found = [each for each in facts.contamination if each.get("n_found")]
    if not found:
        return "None: no row of a benchmark stands in the text that it was trained on."
    rows = [
        [
            md_text(each["title"]),
            f"{each['n_found']:,} of {each['n_pairs']:,}",
            *(shown(each[kind]) for kind in ("exact", "shuffled", "near")),
            ", ".join(f"`{doc_id}`" for doc_id in each["documents"]),
        ]
        for each in found
    ]
    header = ("benchmark", "pairs found", "exact rows", "shuffled", "near", "first documents")
    return (
        "**It has read answers that it is judged by.** `contamination.parquet` among the files of its run lists each "
        f"row.\n\n{md_table(header, rows)}"
    )


def gate_section(gate: Mapping[str, Any]) -> str:
    """The comparison with the champion, from ``gate.json``."""
    against = f" against version {gate['champion']}" if gate.get("champion") else ""
    parts = [f"**{md_text(gate.get('verdict', ''))}**{against}"]
    tests = gate.get("tests", [])
    if tests:
        rows = [[md_cell(each.get(name)) for name in _TEST_COLUMNS] for each in tests]
        parts.append(md_table(list(_TEST_COLUMNS.values()), rows))
        parts += ["\n".join(coverage_lines(tests))] if "n_champion_covered" in tests[0] else []
    parts += [
        f"- guard {md_text(each.get('name'))}: {'held' if each.get('passed') else md_text(each.get('text'))}"
        for each in gate.get("guards", [])
    ]
    return "\n\n".join(parts)


def release_section(facts: CardFacts) -> str:
    """What the version means for those who hold vectors of the champion before it, from ``release.json``."""
    release = facts.release
    kind, _, why = str(release.get("text", "")).partition(":")
    parts = [f"**{md_text(kind)}**: {md_text(why)}"]
    recall, fit = release.get("recall"), release.get("map")
    if recall and fit:
        at = f"recall@{recall['n']}"
        rows = [
            ("an index of the old vectors, asked with new ones", "old_index"),
            ("an index of the new vectors, asked with old ones", "old_queries"),
        ]
        cells = [(what, md_number(recall[name]), md_number(recall[f"{name}_unmapped"])) for what, name in rows]
        parts += [
            md_table(("", f"{at} with the map", "without"), cells),
            f"Both against the {recall['n']} nearest words among new vectors that a new vector finds; "
            f"{shown(recall['n_queries'])} words asked, {shown(recall['n_indexed'])} indexed. The old vectors' own "
            f"answers agree with the new ones' to {md_number(recall['both_old'])}. Mean cosine of "
            f"{shown(fit['n_heldout'])} words that the map has not seen: {md_number(fit['heldout_cosine'])}.",
        ]
    if release.get("shipped_map"):
        parts.append(
            f"The map: `vecmill registry release {facts.version.number} --save FOLDER`, then "
            "`vecmill vectors move OLD FOLDER NEW`."
        )
    return "\n\n".join(parts)
