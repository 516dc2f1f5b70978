"""The report of one model: a single HTML page that needs nothing else, no network and no script.

Whatever comes from outside (words, names, paths, verdicts) goes through :mod:`vecmill.report.markup`, which escapes
it; on top, the page's content security policy lets a browser load and run nothing at all.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vecmill.report.charts import interval_chart, line_chart, map_chart
from vecmill.report.facts import ReportFacts
from vecmill.report.markup import Markup, element, joined, number, table, word

REPORT_NAME = "report.html"

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2126;--paper:#fff;--soft:#5b6670;--line:#d9dee3;--accent:#1f6f8b;
--second:#b4541c;--panel:#f4f6f8}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaee;--paper:#14181c;--soft:#9aa6b1;--line:#333c45;--accent:#5fb8d6;
--second:#e59a62;--panel:#1d2329}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .3rem;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.4rem 0 .4rem;padding-top:.8rem;border-top:1px solid var(--line)}
p{margin:.4rem 0;max-width:46rem}.verdict{max-width:none}.note,figcaption,caption{color:var(--soft);font-size:.9rem}
.verdict{font-size:1.05rem;border-left:4px solid var(--accent);padding:.3rem .8rem;background:var(--panel);
overflow-wrap:anywhere}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(8.5rem,1fr));gap:.6rem;margin:1rem 0;padding:0}
.tiles div{background:var(--panel);padding:.6rem .8rem;border-radius:.4rem}
.tiles dt{color:var(--soft);font-size:.85rem}.tiles dd{margin:0;font-size:1.25rem;font-variant-numeric:tabular-nums}
/* a shadow at the side where more can be scrolled to; phones show no scroll bar */
.scroll{overflow-x:auto;margin:.6rem 0;background:linear-gradient(90deg,var(--paper) 40%,transparent),
linear-gradient(270deg,var(--paper) 40%,transparent) 100% 0,linear-gradient(90deg,#8887,transparent),
linear-gradient(270deg,#8887,transparent) 100% 0;background-size:2rem 100%,2rem 100%,.6rem 100%,.6rem 100%;
background-repeat:no-repeat;background-attachment:local,local,scroll,scroll}
.scroll:focus-visible{outline:2px solid var(--accent)}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;min-width:100%}
caption{text-align:left;padding-bottom:.3rem}
th,td{padding:.25rem .6rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
th[scope=row],thead th:first-child{text-align:left}thead th{font-weight:600;font-size:.9rem}
th[scope=row]{font-weight:500}
.left td{text-align:left;white-space:normal;overflow-wrap:anywhere}.left th[scope=col]{text-align:left}
.neighbours td{min-width:26rem;text-align:left;white-space:normal}.neighbours th[scope=col]{text-align:left}
.neighbours small{color:var(--soft)}
.heat{min-width:0}.heat td{text-align:center;padding:.3rem .35rem;font-size:.85rem;border:0;color:var(--ink)}
.heat th{font-weight:500;font-size:.85rem;border:0}.heat thead th{vertical-align:bottom;text-align:center}
figure{margin:.6rem 0}svg{display:block;width:100%;min-width:34rem;max-width:46rem;height:auto}
svg text{fill:var(--ink);font:12px system-ui,sans-serif}.grid{stroke:var(--line)}.zero{stroke:var(--soft)}
.bar{stroke:var(--accent);stroke-width:4;stroke-linecap:round;opacity:.45}.dot{fill:var(--accent)}
.ring{fill:var(--paper);stroke:var(--second);stroke-width:2}.curve{fill:none;stroke:var(--accent);stroke-width:2}
.curve1{stroke:var(--second);stroke-dasharray:6 3}.point0{fill:var(--accent)}.point1{fill:var(--second)}
svg .word{unicode-bidi:isolate}svg .pale{opacity:.35;font-size:9px}
code{font-size:.85em;overflow-wrap:anywhere}
@media(max-width:36rem){th[scope=row]{white-space:normal}.left th[scope=row]{width:42%}
.neighbours td{min-width:15rem}th,td{padding:.25rem .4rem}}
@media print{.scroll{overflow:visible;background:none}h2{break-after:avoid}figure,table{break-inside:avoid}}
"""

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def report_page(facts: ReportFacts) -> str:
    """The page, as text to be written in UTF-8; the same for the same facts."""
    sections = [
        ("Scores", _scores(facts)),
        ("Benchmarks in the corpus", _contamination(facts)),
        ("Analogies", _analogies(facts)),
        ("Held-out text", _validation(facts)),
        ("Against the champion", _gate(facts)),
        ("Learning curve", _curve(facts)),
        ("Map of words", _map(facts)),
        ("Nearest words", _neighbours(facts)),
        ("Similarity of words", _heat(facts)),
        ("Corpus and vocabulary", _corpus(facts)),
        ("The vectors themselves", _statistics(facts)),
        ("Where it came from", _origin(facts)),
    ]
    body = element(
        "main",
        element("header", element("h1", facts.title), _verdict(facts), _tiles(facts)),
        *(element("section", element("h2", title), *parts) for title, parts in sections if parts),
    )
    return _document(f"Report: {facts.title}", body)


def curve_page(title: str, shares: Sequence[float], scores: Mapping[str, Sequence[float]]) -> str:
    """A page with one drawing for each score over growing shares of the text.

    Parameters
    ----------
    shares : rising;  scores : values by name, as many as shares
    """
    figures = [
        _figure(line_chart(name, "share of the text", name, shares, {name: line}), f"{name}, by share of the text")
        for name, line in scores.items()
    ]
    return _document(title, element("main", element("h1", title), *figures))


def _document(title: str, body: Markup) -> str:
    head = element(
        "head",
        Markup('<meta charset="utf-8">'),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        Markup('<meta name="viewport" content="width=device-width, initial-scale=1">'),
        element("title", title),
        Markup(f"<style>{_STYLE}</style>"),
    )
    return f"<!doctype html>\n{element('html', head, element('body', body), lang='en')}\n"


def _verdict(facts: ReportFacts) -> Markup:
    said = facts.registration.get("verdict")
    return element("p", f"{str(said)[:1].upper()}{str(said)[1:]}.", class_="verdict") if said else Markup("")


def _tiles(facts: ReportFacts) -> Markup:
    evaluate, train = _metrics(facts, "evaluate"), _metrics(facts, "train")
    words, dim = train.get("n_words", evaluate.get("n_words")), train.get("dim", evaluate.get("dim"))
    shown = {
        "quality (0 to 1)": number(evaluate.get("quality")),
        "similarity, all pairs": number(evaluate.get("mean_spearman")),
        "pairs covered": _percent(evaluate.get("mean_coverage")),
        "held-out AUC": number(facts.validation.get("auc")) if facts.validation else None,
        "trainer": train.get("kind"),
        "words × dimensions": f"{number(words)} × {number(dim)}" if words and dim else None,
    }
    tiles = [element("div", element("dt", name), element("dd", value)) for name, value in shown.items() if value]
    return element("dl", *tiles, class_="tiles")


def _scores(facts: ReportFacts) -> list[Markup]:
    if not facts.scores:
        return []
    confidence = 100 * float(facts.scores[0].get("confidence", 0.95))
    rows = [
        (
            each.get("title") or each.get("benchmark", ""),
            number(each.get("spearman")),
            _interval(each.get("lower"), each.get("upper")),
            number(each.get("pearson")),
            number(each.get("spearman_all_pairs")),
            f"{number(each.get('n_covered'))} of {number(each.get('n_pairs'))}",
        )
        for each in facts.scores
    ]
    header = ("benchmark", "Spearman", f"{confidence:g} % interval", "Pearson", "Spearman, all pairs", "covered")
    return [
        _figure(
            interval_chart(facts.scores),
            f"Filled: pairs whose words both have vectors, with the {confidence:g} % bootstrap interval. Hollow: all "
            "pairs, unknown ones as undecided; these are what versions are compared by.",
        ),
        table("Agreement of cosines with human ratings", header, rows),
    ]


def _contamination(facts: ReportFacts) -> list[Markup]:
    rows = [
        (
            each["title"],
            f"{number(each['n_found'])} of {number(each['n_pairs'])}",
            *(number(each[kind]) for kind in ("exact", "shuffled", "near")),
            joined((element("code", doc_id) for doc_id in each["documents"]), ", "),
        )
        for each in facts.contamination
        if each["n_found"]
    ]
    header = ("benchmark", "pairs found", "exact rows", "shuffled", "near", "first documents")
    return [
        element("p", "It has read answers that it is judged by, so its scores on these benchmarks flatter it."),
        table("Rows of benchmarks in the text that the vectors were made from", header, rows),
    ] * bool(rows)


def _analogies(facts: ReportFacts) -> list[Markup]:
    rows = [
        (each.get("section", ""), number(each.get("accuracy")), _of(each, "n_correct"), _of(each, "n_covered"))
        for score in facts.analogies
        for each in [{**score, "section": score.get("title", ""), "whole": True}, *score.get("sections", [])]
    ]
    header = ("section", "accuracy", "right", "covered")
    return [table("Questions a : b = c : ?", header, rows)] if rows else []


def _validation(facts: ReportFacts) -> list[Markup]:
    found = facts.validation
    if not found:
        return []
    rows = [
        ("accuracy", number(found["accuracy"])),
        ("precision, recall, F1", ", ".join(number(found[name]) for name in ("precision", "recall", "f1"))),
        ("AUC", number(found["auc"])),
        ("AUC of counts alone, without vectors", number(found["auc_by_frequency"])),
        ("mean similarity of true, sampled pairs", f"{number(found['mean_true'])}, {number(found['mean_sampled'])}"),
        ("pairs covered", _percent(found["pair_coverage"])),
    ]
    return [
        element(
            "p",
            f"{number(found['n_documents'])} documents were kept from training. A true pair is a word and a neighbour "
            f"at most {found['window']} words away; a sampled pair has a random word in the neighbour's place. "
            f"{number(found['n_scored'])} of each were scored.",
        ),
        table("True against sampled context pairs", ("", "value"), rows),
    ]


def _gate(facts: ReportFacts) -> list[Markup]:
    gate: Mapping[str, Any] = facts.registration.get("gate") or {}
    tests = gate.get("tests") or []
    rows = [
        (
            each.get("title", ""),
            number(each.get("champion")),
            number(each.get("challenger")),
            number(each.get("difference")),
            _interval(each.get("lower"), each.get("upper")),
            number(each.get("p_holm")),
            number(each.get("power")),
        )
        for each in tests
    ]
    header = ("benchmark", "champion", "this version", "difference", "interval", "p (Holm)", "power")
    said = f"Version {gate['champion']} was champion." if gate.get("champion") else ""
    return [element("p", said), table("Difference on the same pairs", header, rows)] if rows else []


def _curve(facts: ReportFacts) -> list[Markup]:
    epochs = facts.losses.get("epoch", [])
    names = {"loss": "training", "heldout_loss": "held out"}
    lines = {said: facts.losses[name] for name, said in names.items() if name in facts.losses}
    lines = {name: line for name, line in lines.items() if line and all(math.isfinite(each) for each in line)}
    if not epochs or not lines:
        return []
    return [
        _figure(line_chart("Loss by epoch", "epoch", "mean loss", epochs, lines), "Mean loss of the trainer by epoch.")
    ]


def _map(facts: ReportFacts) -> list[Markup]:
    found = facts.word_map
    if found is None:
        return []
    return [
        _figure(
            map_chart(found),
            f"Directions of {len(found.words)} words, projected on their first two principal components. The plane "
            f"holds {100 * found.shown_frac:.0f} % of their variance, so words that lie close here need not be near "
            "each other; the lists below are exact.",
        )
    ]


def _neighbours(facts: ReportFacts) -> list[Markup]:
    rows = [
        (
            word(asked),
            joined(
                (joined((word(each), Markup(" "), element("small", f"{cosine:.2f}"))) for each, cosine in found), ", "
            ),
        )
        for asked, found in facts.neighbours.items()
    ]
    return [table("By cosine, nearest first", ("word", "nearest"), rows, class_="neighbours")] if rows else []


def _heat(facts: ReportFacts) -> list[Markup]:
    if len(facts.heat_words) < 2:
        return []
    rows = []
    for name, cosines in zip(facts.heat_words, facts.heat.tolist(), strict=True):
        cells = []
        for cosine in cosines:
            colour = "var(--accent)" if cosine >= 0 else "var(--second)"
            share = round(100 * min(1.0, abs(cosine)) * 0.75)
            style = f"background:color-mix(in srgb,{colour} {share}%,transparent)"
            cells.append(element("td", f"{cosine:.2f}", style=style))
        rows.append((word(name), *cells))
    header = ("", *(word(each) for each in facts.heat_words))
    return [
        table(
            "Cosines of frequent words and their nearest; the stronger the colour, the further from 0",
            header,
            rows,
            class_="heat",
        )
    ]


def _corpus(facts: ReportFacts) -> list[Markup]:
    ingest, contract = _metrics(facts, "ingest"), _metrics(facts, "contract")
    vocabulary, encode = _metrics(facts, "vocabulary"), _metrics(facts, "encode")
    settings = facts.config.get("vocabulary", {})
    rows: list[tuple[Any, Any]] = [
        ("sources", ", ".join(str(each) for each in facts.config.get("ingest", {}).get("sources", [])) or None),
        ("documents", number(ingest.get("n_documents"))),
        ("characters", number(ingest.get("n_chars"))),
        ("documents that broke the contract", number(contract.get("n_quarantined"))),
        ("words of text", number(vocabulary.get("n_tokens"))),
        ("different words", number(vocabulary.get("n_types"))),
        ("words with a vector", number(vocabulary.get("n_words"))),
        ("share of the text that they cover", _percent(vocabulary.get("coverage_frac"))),
        ("a word counts from", f"{settings['min_count']} occurrences" if "min_count" in settings else None),
        ("words trained on", number(encode.get("n_tokens"))),
        ("sentences", number(encode.get("n_sentences"))),
    ]
    known = [(name, value) for name, value in rows if value not in (None, "–")]
    return [table("Text that the vectors were made from", ("", "value"), known, class_="left")] if known else []


def _statistics(facts: ReportFacts) -> list[Markup]:
    found = facts.statistics
    names = {
        "norm_median": "median length of a vector",
        "cosine_mean": "mean cosine of two random words",
        "isotropy": "isotropy (1: no direction is special)",
        "effective_dim": "dimensions in use",
        "n_components_90": "components that hold 90 % of the variance",
        "hubness_skewness": "hubness (0: no word is everybody's neighbour)",
        "antihub_frac": "share of words that are nobody's neighbour",
        "n_zero_vectors": "vectors of zeros",
    }
    rows = [(said, number(found[name])) for name, said in names.items() if found.get(name) is not None]
    return [table("How the vectors lie in their space", ("", "value"), rows)] if rows else []


def _origin(facts: ReportFacts) -> list[Markup]:
    space = facts.registration.get("space_id") or _metrics(facts, "evaluate").get("space_id")
    rows: list[tuple[Any, Any]] = [(f"artifact {stage}", element("code", key)) for stage, key in facts.keys.items()]
    named = {"vector space": space, "MLflow run": facts.registration.get("run_id")}
    rows += [(name, element("code", value)) for name, value in named.items() if value]
    release = (facts.registration.get("space") or {}).get("text")  # release.json; empty for a first version
    rows += [("release", release)] if release else []
    return [table("Artifacts, space and run", ("", "name"), rows, class_="left")] if rows else []


def _figure(drawing: Markup, caption: str) -> Markup:
    return element(
        "figure",
        element("div", drawing, class_="scroll", tabindex="0", role="region", aria_label="drawing"),
        element("figcaption", caption),
    )


def _metrics(facts: ReportFacts, stage: str) -> Mapping[str, Any]:
    return facts.metrics.get(stage, {})


def _interval(lower: Any, upper: Any) -> str:
    return "–" if lower is None or upper is None else f"{number(lower)} … {number(upper)}"


def _of(score: Mapping[str, Any], name: str) -> str:
    whole = "n_covered" if name == "n_correct" else "n_questions"
    return f"{number(score.get(name))} of {number(score.get(whole))}"


def _percent(share: Any) -> str | None:
    return None if not isinstance(share, int | float) else f"{100 * share:.1f} %"
