"""The contract stage: hold an ingested corpus against its data contract, and quarantine the documents that break it.

First each shard by itself, as a piece that later runs take over: its schema, the row rules in one pass over the text,
and what rules on the table will ask of each document (:mod:`vecmill.corpus.contracts.check_piece`). Then Great
Expectations' judgement, on what was found of all shards. Documents in quarantine stay in the ingest shards; readers
leave them out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from vecmill.corpus.contract_config import ContractConfig, contract_file
from vecmill.corpus.contracts.arrow_check import arrow_schema
from vecmill.corpus.contracts.check_piece import FACTS_NAME, FAILURES_NAME, KIND, check_piece, checking_piece
from vecmill.corpus.contracts.contract_file import Contract, Expectation, RowRule, load_contract, thresholds_of
from vecmill.corpus.contracts.data_docs import DATA_DOCS_FILE, data_docs
from vecmill.corpus.contracts.database import Database, create_view
from vecmill.corpus.contracts.expectations import N_EXAMPLES, Verdict, build_expectations, judge
from vecmill.corpus.contracts.facts import check_measures, judged_on_facts, reads_text
from vecmill.corpus.contracts.row_rules import check_predicates, first_failures, read_examined, write_quarantine
from vecmill.corpus.documents import shard_paths
from vecmill.corpus.shard_shares import shard_shares
from vecmill.errors import ContractViolation
from vecmill.progress import track
from vecmill.store.loose_pieces import pieces_of
from vecmill.store.stage import StageIO, StageReport

QUARANTINE_FILE = "quarantine.parquet"
REPORT_FILE = "report.json"

_VIEW = "documents"
_MOST_RULES_TOLD = 5


@dataclass(frozen=True)
class _Finding:
    """One rule and how the corpus stands to it; examples are (doc_id, where the document came from)."""

    rule: Expectation | RowRule
    verdict: Verdict
    examples: list[tuple[str, str]]

    @property
    def quarantines(self) -> bool:
        return isinstance(self.rule, RowRule) and self.rule.quarantine

    @property
    def stops(self) -> bool:
        return not self.verdict.success and self.rule.severity == "critical" and not self.quarantines


def check_contract(config: ContractConfig, io: StageIO) -> StageReport:
    """Check the ingest artifact's shards, and write ``quarantine.parquet``, ``report.json`` and Data Docs.

    ``quarantine.parquet`` : doc_id, rule, severity, excerpt (string, none nullable; excerpt at most 200 characters),
    a row for each rule that a document failed and that quarantines, sorted by doc_id and rule.
    ``report.json`` : contract, thresholds in force, counts, one entry a rule with three examples, and Great
    Expectations' results without their times and run ids.
    ``data_docs.html`` : the same for people, a page that needs nothing else.

    The files are the same bytes whatever was taken over. ``n_text_bytes_read``, a metric, is the UTF-8 of the texts
    that were read: those of new shards, and all where an expectation cannot be judged on the facts that are kept of
    each document (:mod:`vecmill.corpus.contracts.facts`).

    Raises
    ------
    ContractViolation : a shard has another schema, a critical rule that does not quarantine fails, or more than
        ``max_quarantined_frac`` of the documents are quarantined; the message carries rules, counts and examples, since
        nothing else remains of a stage that fails
    ConfigError : the contract file is not usable, or the memory limit is too low
    StoreError : the ingest artifact holds no shard, or a damaged one
    """
    contract = load_contract(contract_file(config), config.thresholds)
    shares = shard_shares(io)
    with TemporaryDirectory(prefix="vecmill-contract-") as scratch, pieces_of(io) as pieces:
        # Before any text is read, so that a mistake in the contract file is told within seconds.
        expectations = build_expectations(contract)
        check_measures(contract)
        _check_sql(contract, Database(Path(scratch) / "empty.duckdb", config.memory_limit_mb))
        wanted = [checking_piece(share, contract, config.memory_limit_mb) for share in shares]
        checked = pieces.build(KIND, check_piece, wanted, description="checking documents")
        n_documents = sum(piece.metrics["n_documents"] for piece in checked)
        of_text = [rule for rule in contract.expectations if reads_text(contract, rule)]
        n_text_bytes = sum(piece.metrics["n_text_bytes"] for piece in checked if of_text or not piece.taken_over)
        with track("judging the corpus by its contract", total=2, unit="steps") as bar:
            database = Database(Path(scratch) / "contract.duckdb", config.memory_limit_mb)
            with database.connect() as connection:
                folders = [piece.open(FACTS_NAME, FAILURES_NAME) for piece in checked]
                read_examined(
                    connection, [each / FACTS_NAME for each in folders], [each / FAILURES_NAME for each in folders]
                )
                if not all(judged_on_facts(contract, rule) for rule in contract.expectations):
                    create_view(connection, _VIEW, shard_paths(io.inputs["ingest"]))
                n_rows, n_quarantined = write_quarantine(connection, contract, io.output / QUARANTINE_FILE)
                examples = {each.rule: first_failures(connection, each.rule, N_EXAMPLES) for each in contract.row_rules}
            bar.advance()
            verdicts = judge(contract, expectations, database, _VIEW)
            bar.advance()
    findings = _findings(contract, verdicts, examples)
    frac = n_quarantined / n_documents if n_documents else 0.0
    passed = frac <= config.max_quarantined_frac and not any(each.stops for each in findings)
    metrics = {
        "n_documents": n_documents,
        "n_quarantined": n_quarantined,
        "quarantined_frac": frac,
        "n_rules": len(findings),
        "n_failed_rules": sum(not each.verdict.success for each in findings),
        "passed": passed,
    }
    # Also where the run stops: whoever calls this function by hand finds the whole list beside the message.
    _write_report(io.output, contract, config, metrics, findings)
    if not passed:
        raise _violation(contract, config, metrics, findings)
    return StageReport(
        metrics={**metrics, "n_text_bytes_read": n_text_bytes},
        rows={QUARANTINE_FILE: n_rows},
        table=[_row(each, n_documents) for each in findings],
        markdown=_markdown(contract, config, metrics, findings),
    )


def _check_sql(contract: Contract, database: Database) -> None:
    """Have every predicate and measure bound to a table of the contract's columns, without a row."""
    with database.connect() as connection:
        connection.register("no_documents", arrow_schema(contract).empty_table())
        check_predicates(connection, contract, "no_documents")


def _findings(
    contract: Contract, verdicts: Mapping[str, Verdict], examples: Mapping[str, list[tuple[str, str]]]
) -> list[_Finding]:
    on_table = [_Finding(rule, verdicts[rule.rule], []) for rule in contract.expectations]
    on_rows = [_Finding(rule, verdicts[rule.rule], examples[rule.rule]) for rule in contract.row_rules]
    return [*on_table, *on_rows]


def _row(finding: _Finding, n_documents: int) -> dict[str, Any]:
    n_failing = finding.verdict.n_failing
    return {
        "rule": finding.rule.rule,
        "severity": finding.rule.severity,
        "kind": "quarantine" if finding.quarantines else "rows" if isinstance(finding.rule, RowRule) else "table",
        "n_failing": n_failing,
        "frac": None if n_failing is None else n_failing / n_documents if n_documents else 0.0,
        "passed": finding.verdict.success,
    }


def _write_report(
    folder: Path, contract: Contract, config: ContractConfig, metrics: Mapping[str, Any], findings: list[_Finding]
) -> None:
    n_documents = metrics["n_documents"]
    report = {
        "contract": {"name": contract.name, "version": contract.version, "description": contract.description},
        "thresholds": {each.name: each.value for each in contract.thresholds},
        "max_quarantined_frac": config.max_quarantined_frac,
        **metrics,
        "rules": [
            {
                **_row(each, n_documents),
                "meaning": each.rule.meaning,
                "examples": [{contract.row_key: key, contract.origin: origin} for key, origin in each.examples],
            }
            for each in findings
        ],
        "great_expectations": [each.verdict.result for each in findings],
    }
    told = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    (folder / REPORT_FILE).write_text(told, encoding="utf-8")
    (folder / DATA_DOCS_FILE).write_text(data_docs(report), encoding="utf-8")


def _markdown(contract: Contract, config: ContractConfig, metrics: Mapping[str, Any], findings: list[_Finding]) -> str:
    limit = _percent(config.max_quarantined_frac)
    lines = [
        f"Contract `{contract.name}` version {contract.version}: {metrics['n_documents']:,} documents against "
        f"{metrics['n_rules']} rules. {metrics['n_quarantined']:,} documents "
        f"({_percent(metrics['quarantined_frac'])}) are quarantined; up to {limit} may be."
    ]
    failing = [each for each in findings if not each.verdict.success]
    if failing:
        lines += ["", "Rules that do not hold:", ""]
        lines += [f"- **{each.rule.rule}** ({_count(each)}): {each.rule.meaning}" for each in failing]
    return "\n".join(lines) + "\n"


def _violation(
    contract: Contract, config: ContractConfig, metrics: Mapping[str, Any], findings: list[_Finding]
) -> ContractViolation:
    """Why the run stops, told so that nobody needs the files of the failed stage."""
    stopping = [each for each in findings if each.stops]
    n_quarantined, n_documents, frac = metrics["n_quarantined"], metrics["n_documents"], metrics["quarantined_frac"]
    too_many = frac > config.max_quarantined_frac
    blamed = list(stopping)
    if too_many:
        failed = [each for each in findings if each.quarantines and not each.verdict.success]
        blamed += sorted(failed, key=lambda each: -(each.verdict.n_failing or 0))
    told = "; ".join(_tell(each) for each in blamed[:_MOST_RULES_TOLD])
    if len(blamed) > _MOST_RULES_TOLD:
        told += f"; and {len(blamed) - _MOST_RULES_TOLD} more rules"
    reasons = []
    if stopping:
        reasons.append(f"{len(stopping)} critical rule{'s' * (len(stopping) > 1)} that the whole table must keep")
    if too_many:
        reasons.append(f"too many documents to leave out ({n_quarantined:,} of {n_documents:,}, {_percent(frac)})")
    return ContractViolation(
        f"the corpus breaks contract {contract.name!r} version {contract.version}: {' and '.join(reasons)}. {told}",
        expected=f"at most contract.max_quarantined_frac = {config.max_quarantined_frac:g} of the documents in "
        "quarantine, and every critical rule on the whole table kept",
        todo=_advice(contract, blamed, too_many),
    )


def _tell(finding: _Finding) -> str:
    rule, count = finding.rule, _count(finding)
    # Great Expectations names documents by key alone; where we looked them up ourselves, their source is known too.
    named = [f"{key!r} from {origin}" for key, origin in finding.examples] or [
        repr(key) for key in finding.verdict.examples
    ]
    such_as = f", such as {', '.join(named)}" if named else ""
    return f"Rule {rule.rule} ({rule.severity}; {count}{such_as}): {rule.meaning.rstrip('.')}"


def _count(finding: _Finding) -> str:
    n_failing = finding.verdict.n_failing
    if n_failing is None:
        return f"found {finding.verdict.result['result'].get('observed_value')}"
    return f"{n_failing:,} failing"


def _percent(frac: float) -> str:
    return f"{100 * frac:.3g} %"


def _advice(contract: Contract, blamed: list[_Finding], too_many: bool) -> str:
    values = {each.name: each.value for each in contract.thresholds}
    names = dict.fromkeys(name for each in blamed for name in thresholds_of(each.rule))
    settings = [f"contract.thresholds.{name} (now {values[name]:g})" for name in names]
    if too_many:
        settings.append("contract.max_quarantined_frac")
    advice = "look at these documents in their source, then leave the source out (corpus.sources) or read it otherwise "
    advice += "(corpus.format, corpus.encoding, corpus.cleaning)"
    return f"{advice}; where the text is as it should be, set {' or '.join(settings)}" if settings else advice
