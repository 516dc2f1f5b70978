"""Hyperparameter search around the ``words`` pipeline: trials on pilots, finalists on all documents, one winner."""

from __future__ import annotations

import time
from typing import Any

from prefect import flow

from tasks.caching import pipeline_run
from tasks.search import judge_finalists, open_study, publish_report, register_winner, run_finalists, run_trials
from vecmill.pipelines.words_search import WORDS_SEARCH, WordsSearchConfig
from vecmill.progress import show_only
from vecmill.tuning.report import search_report
from vecmill.tuning.space import refuse_refresh


@flow(name="words-search", validate_parameters=True, persist_result=False)
def search(config: WordsSearchConfig, refresh: list[str] | None = None) -> dict[str, Any]:
    """From a space of configurations to a winner that was trained from several seeds and has been before the gate.

    Args:
        config: the configuration to start from, and the section ``search``
        refresh: refused; a plain run of the pipeline builds a stage again
    """
    refuse_refresh(refresh or ())
    started = time.perf_counter()
    with (
        show_only("nodes", "trial", "finalists", "waiting", "registering", "logging"),
        pipeline_run(WORDS_SEARCH, config.base()) as run,
    ):
        study = open_study(run, config.search)
        run_trials(run, study)
        finalists = run_finalists(run, config.search, study)
        findings = judge_finalists(run, finalists)
        report = search_report(config.search, study, finalists, findings)
        model = register_winner(run, finalists)
        publish_report(run, report)
    return {
        "pipeline": WORDS_SEARCH.name,
        "search": report,
        "model": model,
        "store": run.store.uri,
        "seconds": round(time.perf_counter() - started, 3),
    }
