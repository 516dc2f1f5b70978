"""Great Expectations as the judge: expectations built from a contract, run over DuckDB, told as plain JSON values.

Great Expectations is imported inside the functions (it takes seconds), works in an ephemeral context that writes
nothing, and sees three tables of a DuckDB file: the facts kept of each row, the failures of the row rules, and the data
itself, which is read for rules on the text alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.engine import URL

from vecmill.corpus.contracts.contract_file import Contract, Expectation, RowRule, arguments, nearest_name, predicate
from vecmill.corpus.contracts.database import Database
from vecmill.corpus.contracts.facts import judged_on_facts
from vecmill.corpus.contracts.gx_import import import_great_expectations
from vecmill.corpus.contracts.row_rules import FACTS, FAILURES
from vecmill.errors import ConfigError

N_EXAMPLES = 3

# What a result holds besides these is times, run ids, or the first rows that came along: never twice the same.
_KEPT = ("observed_value", "element_count", "missing_count", "unexpected_count", "unexpected_percent")


@dataclass(frozen=True)
class Verdict:
    """What Great Expectations found about one rule.

    Attributes
    ----------
    success : whether the rule holds
    n_failing : number of failing rows, None where the rule is not about rows
    examples : keys of some failing rows, where Great Expectations states them
    result : its result, as plain JSON values that are the same for the same data
    """

    success: bool
    n_failing: int | None
    examples: tuple[str, ...]
    result: dict[str, Any]


def build_expectations(contract: Contract) -> tuple[list[Any], list[Any]]:
    """Great Expectations' own objects for a contract: those on the table, and one for each row rule.

    Raises
    ------
    ConfigError : an expectation type, argument or column that there is not; the message names the nearest
    """
    import_great_expectations()
    from great_expectations.expectations import UnexpectedRowsExpectation

    on_table = [_build(contract, each) for each in contract.expectations]
    on_rows = [
        UnexpectedRowsExpectation(
            unexpected_rows_query=f"SELECT row_key FROM {{batch}} WHERE rule = '{each.rule}'",
            severity=each.severity,
            meta={"rule": each.rule},
        )
        for each in contract.row_rules
    ]
    return on_table, on_rows


def judge(
    contract: Contract, expectations: tuple[list[Any], list[Any]], database: Database, view: str
) -> dict[str, Verdict]:
    """Let Great Expectations judge the data and the failures of the row rules.

    Parameters
    ----------
    expectations : as :func:`build_expectations` made them from the contract
    database : holds the data as ``view``, and what :func:`~vecmill.corpus.contracts.row_rules.examine` found of it;
        no other connection to it may be open
    view : may be missing where all expectations can be judged on the facts

    Returns
    -------
    verdict by name of the rule, in the order of the contract

    Raises
    ------
    ConfigError : an expectation could not be evaluated
    """
    from great_expectations import get_context
    from great_expectations.data_context.data_context.context_factory import set_context
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    # Importing the dialect makes its name, duckdb+gx, known to SQLAlchemy.
    from vecmill.corpus.contracts.gx_dialect import GXDuckDB

    on_table, on_rows = expectations
    of_facts: list[Any] = []
    of_rows: list[Any] = []
    for rule, each in zip(contract.expectations, on_table, strict=True):
        (of_facts if judged_on_facts(contract, rule) else of_rows).append(each)
    # Stores in memory and no documentation site: nothing is written, not even for a moment.
    settings = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(), progress_bars=ProgressBarsConfig(globally=False)
    )
    context = get_context(mode="ephemeral", project_config=settings)
    engines: list[Any] = []
    try:
        source = context.data_sources.add_sql(
            contract.name,
            connection_string=URL.create(f"{GXDuckDB.name}+gx", database=str(database.path)).render_as_string(),
            create_temp_table=False,
            kwargs={"connect_args": {"read_only": True, "config": database.settings}},
        )
        engines = [source.get_engine(), source.get_execution_engine().engine]
        results = [
            *_validate(source, FACTS, of_facts, contract.row_key),
            *_validate(source, view, of_rows, contract.row_key),
            *_validate(source, FAILURES, on_rows, "row_key"),
        ]
    finally:
        for engine in engines:
            engine.dispose()
        set_context(None)  # it is a global, and would keep engines and results alive
    found = {result["expectation_config"]["meta"]["rule"]: result for result in results}
    if len(found) != len(contract.rules):
        # It logs and drops what it does not understand; a rule that nobody judged must not pass for one that holds.
        raise AssertionError(f"{len(contract.rules)} rules, {len(found)} results")
    return {rule.rule: _verdict(contract, rule, found[rule.rule], database) for rule in contract.rules}


def _build(contract: Contract, expectation: Expectation) -> Any:
    from great_expectations.exceptions import ExpectationNotFoundError
    from great_expectations.expectations.registry import (
        get_expectation_impl,
        list_registered_expectation_implementations,
    )

    place = f"contract {contract.name!r}: rule {expectation.rule!r}"
    try:
        kind = get_expectation_impl(expectation.type)
    except ExpectationNotFoundError as error:
        raise ConfigError(
            f"{place} has the type {expectation.type!r}, which Great Expectations does not have",
            todo=nearest_name(expectation.type, sorted(list_registered_expectation_implementations())),
        ) from error
    kwargs = arguments(contract, expectation)
    for name in kwargs:
        if name not in kind.__fields__:
            own = [each for each in kind.__fields__ if each not in _COMMON_FIELDS]
            raise ConfigError(
                f"{place}: {expectation.type} has no argument {name!r}", todo=nearest_name(name, sorted(own))
            )
    columns = contract.column_names
    if "column" in kwargs and kwargs["column"] not in columns:
        raise ConfigError(
            f"{place}: column {kwargs['column']!r} is none of the contract's",
            todo=nearest_name(str(kwargs["column"]), columns),
        )
    try:
        return kind(**kwargs, severity=expectation.severity, meta={"rule": expectation.rule})
    except ValueError as error:  # pydantic's ValidationError is one
        reasons = "; ".join(line.strip() for line in str(error).splitlines()[1:]) or str(error)
        raise ConfigError(
            f"{place}: {expectation.type} does not take {kwargs}: {reasons}",
            todo="correct its kwargs in the contract file",
        ) from error


def _validate(source: Any, table: str, expectations: list[Any], row_key: str) -> list[dict[str, Any]]:
    if not expectations:
        return []
    from great_expectations import ExpectationSuite

    # A query rather than a table: reflection through duckdb-engine's imitation of pg_catalog costs more than it tells.
    asset = source.add_query_asset(table, query=f"SELECT * FROM {table}")
    batch = asset.add_batch_definition_whole_table(table).get_batch()
    found = batch.validate(
        ExpectationSuite(name=table, expectations=expectations),
        # SUMMARY fetches counts and the first few keys; COMPLETE would fetch every failing row.
        result_format={
            "result_format": "SUMMARY",
            "unexpected_index_column_names": [row_key],
            "partial_unexpected_count": N_EXAMPLES,
        },
    )
    return list(found.to_json_dict()["results"])


def _verdict(contract: Contract, rule: Expectation | RowRule, found: dict[str, Any], database: Database) -> Verdict:
    _refuse_exception(contract, rule.rule, found["exception_info"], database)
    config, result = found["expectation_config"], found["result"]
    told: dict[str, Any] = {
        "rule": rule.rule,
        "type": config["type"],
        "severity": config["severity"],
        "success": bool(found["success"]),
        "result": {name: result[name] for name in _KEPT if name in result},
    }
    if isinstance(rule, RowRule):
        told["holds"] = predicate(contract, rule)
    else:
        told["kwargs"] = {name: value for name, value in config["kwargs"].items() if name != "batch_id"}
    counted = result.get("observed_value" if config["type"] == "unexpected_rows_expectation" else "unexpected_count")
    n_failing = None if counted is None else int(counted)
    examples = {str(each[contract.row_key]) for each in result.get("partial_unexpected_index_list") or []}
    return Verdict(told["success"], n_failing, tuple(sorted(examples)), told)


def _refuse_exception(contract: Contract, rule: str, info: dict[str, Any], database: Database) -> None:
    """An expectation that raised is reported as failed; that would blame the data for a fault in the contract."""
    raised = [info] if "raised_exception" in info else list(info.values())
    for each in raised:
        if not each["raised_exception"]:
            continue
        message = str(each["exception_message"])
        if "Out of Memory Error" in message:
            raise database.explain(message)
        raise ConfigError(
            f"contract {contract.name!r}: Great Expectations could not evaluate rule {rule!r}: "
            f"{message.strip().splitlines()[0]}",
            todo=f"correct expectations, rule {rule!r}, in the contract file",
        )


# Fields that every expectation has and a contract states elsewhere, or not at all.
_COMMON_FIELDS = frozenset(
    {"id", "meta", "notes", "result_format", "description", "catch_exceptions", "rendered_content", "severity"}
    | {"windows", "batch_id", "row_condition", "condition_parser"}
)
