"""The parts of a search that are more than one trial: candidates as configurations, finalists, winner, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from tasks.artifacts import artifact_key
from tasks.caching import PipelineRun
from tasks.trial import LAST_STAGE, register_scored, train_and_score
from vecmill.errors import ConfigError
from vecmill.evaluation.items import ITEMS_NAME, ModelItems, read_items
from vecmill.store.plan import make_plan
from vecmill.tuning.config import SearchConfig
from vecmill.tuning.finalists import BASELINE, Finalist, Finding, judge, train_finalists
from vecmill.tuning.folds import fold_configs, mean_evaluation
from vecmill.tuning.log import has_champion, log_search
from vecmill.tuning.objective import Evaluation, without_the_unread
from vecmill.tuning.report import search_markdown
from vecmill.tuning.space import Value, values_at, with_values
from vecmill.tuning.storage import storage_uri
from vecmill.tuning.trials import Study, contradiction


def open_study(run: PipelineRun, search: SearchConfig) -> Study:
    """The search's trials in the database, those of earlier searches around the same configuration included."""
    keys = {each.stage.name: each.key for each in make_plan(run.pipeline, run.config, run.store)}

    def read(values: Mapping[str, Value], paths: list[str]) -> Mapping[str, Value]:
        return values_at(run.config, values, paths)

    return Study(search, storage_uri(search), keys[LAST_STAGE], run.config.seed, read)


def run_trials(run: PipelineRun, study: Study) -> None:
    """Draw, train and score candidates on growing shares of the documents."""

    def try_out(values: Mapping[str, Value], share: float) -> Evaluation:
        candidate = _judged_by_the_objective(_candidate(run.config, values, share), study.search)
        return _scored(run, study.search, f"trial on {100 * share:g} %", candidate)

    study.run(try_out)


def run_finalists(run: PipelineRun, search: SearchConfig, study: Study) -> list[Finalist]:
    """Train the best trials, and the configuration that the search started from, on all documents from each seed."""

    def train(values: Mapping[str, Value], replica: int) -> Evaluation:
        config, label = _replica(run.config, values, replica), f"finalist, seed {replica}"
        whole = train_and_score(run, label, config, for_registry=True)
        if not search.folds:
            return whole
        scored = _scored(run, search, label, _judged_by_the_objective(config, search))
        return replace(mean_evaluation([scored, whole]), metrics=scored.metrics)

    return train_finalists(search, study, train)


def _scored(run: PipelineRun, search: SearchConfig, label: str, config: Any) -> Evaluation:
    """Train and score a configuration: once, or once for each fold."""
    folds = list(fold_configs(config, search.folds))
    if len(folds) == 1:
        return train_and_score(run, label, folds[0])
    return mean_evaluation([train_and_score(run, f"{label}, fold {at}", each) for at, each in enumerate(folds)])


def judge_finalists(run: PipelineRun, finalists: Sequence[Finalist]) -> list[Finding]:
    """Compare the best finalist with each of the others, by the statistics of the registry's gate."""

    def items(finalist: Finalist) -> Sequence[ModelItems]:
        folders = [run.store.folder(each.outcome[LAST_STAGE].ref) for each in finalist.evaluations]
        return [read_items(folder / ITEMS_NAME) for folder in folders]

    winner, *others = finalists
    return [judge(winner, other, items, run.config.registry.promotion) for other in others]


def register_winner(run: PipelineRun, finalists: Sequence[Finalist]) -> dict[str, Any] | None:
    """Register every training of the winner as versions of one recipe, and let the gate judge them as one side.

    The training from the pipeline's own seed comes last, for the one that completes the side may become champion. In
    a registry without a champion the configuration that the search started from comes first, to have something to be
    compared with.

    Returns
    -------
    What came of the last one; None where the configuration that the search started from won
    """
    winner = finalists[0]
    if winner.trial == BASELINE:
        return None
    if not has_champion(run.config.registry):
        baseline = next(each for each in finalists if each.trial == BASELINE)
        register_scored(run, run.config, baseline.evaluations[0])
    model = None
    for replica in reversed(range(len(winner.evaluations))):
        config = _replica(run.config, winner.values, replica)
        promotion = config.registry.promotion
        n_replicas = max(promotion.min_replicas, len(winner.evaluations))
        registry = config.registry.model_copy(
            update={"promotion": promotion.model_copy(update={"min_replicas": n_replicas})}
        )
        config = config.model_copy(update={"registry": registry})
        model = register_scored(run, config, winner.evaluations[replica])
    return model


@task(name="report", cache_policy=NO_CACHE, persist_result=False)
def publish_report(run: PipelineRun, report: dict[str, Any]) -> None:
    """Show the report in Prefect, and log the search with its trials as nested runs in MLflow."""
    page = search_markdown(report)
    create_markdown_artifact(markdown=page, key=artifact_key(run.pipeline.name, "search"), description="Search")
    log_search(run.config.registry, report, page)


def _replica(base: Any, values: Mapping[str, Value], replica: int) -> Any:
    # Counted from the configuration's own, which is usually 0.
    return _candidate(base, values, 1.0).model_copy(update={"replica": base.replica + replica})


def _judged_by_the_objective(config: Any, search: SearchConfig) -> Any:
    return config.model_copy(update={"evaluate": without_the_unread(config.evaluate, search)})


def _candidate(base: Any, values: Mapping[str, Value], share: float) -> Any:
    pilot = {} if share == 1 else {"encode.documents_share": share * base.encode.documents_share}
    try:
        return with_values(base, {**values, **pilot}, "a candidate of the search")
    except ConfigError as error:
        raise contradiction(error) from error
