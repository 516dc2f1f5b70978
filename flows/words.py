"""The ``words`` pipeline: raw text to a registered, judged model of word vectors."""

from __future__ import annotations

from typing import Any

from prefect import flow

from tasks.caching import pipeline_run
from tasks.contamination import contamination
from tasks.contract import contract
from tasks.encode import encode
from tasks.evaluate import evaluate
from tasks.ingest import ingest
from tasks.register import register
from tasks.train import train
from tasks.vocabulary import vocabulary
from vecmill.pipelines.words import WORDS, WordsConfig


@flow(name="words", validate_parameters=True, persist_result=False)
def words(config: WordsConfig, refresh: list[str] | None = None) -> dict[str, Any]:
    """From raw text to a registered model of word vectors.

    Args:
        config: everything that can be set, one section a stage
        refresh: stages to build again even where their artifact stands
    """
    with pipeline_run(WORDS, config, tuple(refresh or ())) as run:
        corpus = ingest(run)
        checked = contract(run, corpus)
        leaked = contamination(run, corpus, checked)
        known = vocabulary(run, corpus, checked)
        tokens = encode(run, corpus, checked, known)
        vectors = train(run, known, tokens)
        scores = evaluate(run, corpus, checked, known, tokens, vectors)
        register(run, corpus, checked, leaked, known, vectors, scores)
        return run.summary()
