"""Data Docs: the judgement of a contract as a page to read in a browser, which needs no network and no script.

Great Expectations builds such pages itself, but only within a project folder of its own, with times and run ids in
them; ours hold what ``report.json`` holds, and are the same bytes for the same judgement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

DATA_DOCS_FILE = "data_docs.html"

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_STYLE = """:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:0 auto;
padding:1rem}table{border-collapse:collapse;width:100%;margin:.5rem 0 1.5rem}th,td{padding:.3rem .6rem;text-align:left;
border-bottom:1px solid #8886;vertical-align:top;overflow-wrap:anywhere}td.n{text-align:right}
.holds{color:#1a7f37}.fails{color:#c4320a;font-weight:600}"""
# HTML does not allow these, however they are written.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff]")


def data_docs(report: Mapping[str, Any]) -> str:
    """The page, to be written in UTF-8.

    Parameters
    ----------
    report : what the contract stage writes as ``report.json``
    """
    contract = report["contract"]
    title = f"Contract {contract['name']}, version {contract['version']}"
    verdict = "The corpus keeps its contract." if report["passed"] else "The corpus breaks its contract."
    state = "holds" if report["passed"] else "fails"
    n_quarantined, n_failed = report["n_quarantined"], report["n_failed_rules"]
    summary = (
        f"{report['n_documents']:,} documents against {report['n_rules']} rules, of which {n_failed} do not hold. "
        f"{n_quarantined:,} documents ({100 * report['quarantined_frac']:.3g} %) are quarantined; up to "
        f"{100 * report['max_quarantined_frac']:.3g} % may be."
    )
    rules = sorted(report["rules"], key=lambda each: bool(each["passed"]))
    thresholds = [(name, f"{value:g}") for name, value in report["thresholds"].items()]
    body = (
        f"<h1>{_text(title)}</h1><p>{_text(contract['description'])}</p>"
        f'<p class="{state}">{verdict}</p><p>{_text(summary)}</p>'
        f"<h2>Rules</h2>{_table(_RULE_HEADER, [_rule_cells(each) for each in rules])}"
        f"<h2>Thresholds in force</h2>{_table(('threshold', 'value'), thresholds)}"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{_text(title)}</title><style>{_STYLE}</style></head>\n<body>{body}</body></html>\n"
    )


_RULE_HEADER = ("rule", "verdict", "severity", "a failing row", "failing", "asks for", "such as")
_KINDS = {"quarantine": "is left out", "rows": "stays", "table": "none: judges the table"}


def _rule_cells(rule: Mapping[str, Any]) -> Sequence[str]:
    failing = "" if rule["n_failing"] is None else f"{rule['n_failing']:,}"
    examples = "; ".join(", ".join(str(value) for value in each.values()) for each in rule["examples"])
    verdict = "holds" if rule["passed"] else "fails"
    return rule["rule"], verdict, rule["severity"], _KINDS[rule["kind"]], failing, rule["meaning"], examples


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{_text(each)}</th>' for each in header)
    body = "".join(f"<tr>{''.join(_cell(each) for each in row)}</tr>\n" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{body}</tbody></table>"


def _cell(value: str) -> str:
    kind = value if value in ("holds", "fails") else "n" if value.replace(",", "").isdigit() else ""
    return f'<td class="{kind}">{_text(value)}</td>' if kind else f"<td>{_text(value)}</td>"


def _text(value: str) -> str:
    return escape(_FORBIDDEN.sub("\ufffd", value))
