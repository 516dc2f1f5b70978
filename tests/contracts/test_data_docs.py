"""Data Docs: what was judged stands on the page, escaped, and the page needs nothing else."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from vecmill.corpus.contracts.data_docs import DATA_DOCS_FILE, data_docs
from vecmill.errors import ContractViolation


class _Page(HTMLParser):
    """Rows of all tables, and every tag and address."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data):
        if self._in_cell:
            self.rows[-1][-1] += data


def test_every_rule_stands_on_the_page_and_failing_ones_first(run_contract, rows):
    _, output = run_contract(rows({7: {"text": " ", "source_uri": "<script>&amp;\x01.txt"}}))
    told = json.loads((output / "report.json").read_text())
    text = (output / DATA_DOCS_FILE).read_text(encoding="utf-8")
    page = _Page(text)
    judged = {row[0]: row for row in page.rows if len(row) == 7}
    assert list(judged)[1:] == [
        each["rule"] for passed in (False, True) for each in told["rules"] if each["passed"] is passed
    ]
    assert judged["text_not_blank"][1:5] == ["fails", "critical", "is left out", "1"]
    assert judged["text_not_blank"][6] == "d007, <script>&amp;\ufffd.txt"
    assert [row for row in page.rows if row[0] == "min_documents"] == [["min_documents", "1"]]
    assert "The corpus keeps its contract." in text and "1 documents (2.5 %) are quarantined" in text
    assert page.addresses == [] and not page.tags & {"script", "link", "img", "iframe"}
    # What slips through all the same is loaded by no browser.
    assert 'http-equiv="Content-Security-Policy" content="default-src \'none\';' in text
    assert str(output.parent) not in text


def test_a_broken_contract_says_so(run_contract, rows, tmp_path):
    with pytest.raises(ContractViolation):
        run_contract(rows(), thresholds={"min_documents": 41})
    text = (tmp_path / "contract-1" / DATA_DOCS_FILE).read_text(encoding="utf-8")
    assert "The corpus breaks its contract." in text
    assert data_docs(json.loads((tmp_path / "contract-1/report.json").read_text())) == text
