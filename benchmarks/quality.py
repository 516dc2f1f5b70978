"""How good the word vectors are, ours and gensim's with equal hyperparameters.

    python benchmarks/quality.py [--quick] [--part 1.0] [--epochs 5] [--seeds 3] [--trainers skipgram cbow] [--write]

Both sides train on the same reviews (``benchmarks/reviews.py``): 100 dimensions, window 5, 5 negatives, sample 1e-3,
one thread. Both CBOWs take the word2vec gradient, so that they compute the same thing. Scores are Spearman
correlations (covered pairs), and the share of Google analogies solved among the 30,000 commonest words. Prints a
table and, as its last line, RESULT and one JSON object: per trainer and benchmark `ours`, `ours_sd`, `gensim`,
`gensim_sd` over seeds, and `quality_ok`: our mean is nowhere below gensim's mean minus one standard deviation.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from reviews import Corpus, read_corpus

RESULTS = Path(__file__).resolve().parent / "results/quality.json"
SIMILARITY = {"wordsim353": "WordSim-353", "simlex999": "SimLex-999", "men": "MEN", "rw": "Rare Words"}
ANALOGIES = "google_analogies"
ANALOGY_WORDS = 30_000
QUICK = {"part": 0.05, "epochs": 1, "seeds": 1}

# The learning rate both sides start from, word2vec.c's.
LEARNING_RATES = {"skipgram": 0.025, "cbow": 0.05}

Vectors = npt.NDArray[np.float32]


def train_ours(corpus: Corpus, trainer: str, epochs: int, seed: int) -> tuple[list[str], Vectors]:
    from vecmill.words.config import CbowConfig, SkipgramConfig
    from vecmill.words.trainer import train_vectors

    options: dict[str, Any] = {"epochs": epochs, "threads": 1, "learning_rate": LEARNING_RATES[trainer]}
    config = (
        SkipgramConfig(**options)
        if trainer == "skipgram"
        else CbowConfig(kind="cbow", cbow_gradient="word2vec", **options)
    )
    done = train_vectors(corpus.token_ids, corpus.sentence_offsets, corpus.counts, config, seed=seed)
    return corpus.words, done.center_vectors


def train_gensim(corpus: Corpus, trainer: str, epochs: int, seed: int) -> tuple[list[str], Vectors]:
    from gensim.models import Word2Vec

    model = Word2Vec(
        corpus_file=str(corpus.text),
        vector_size=100,
        window=5,
        negative=5,
        sample=1e-3,
        ns_exponent=0.75,
        min_count=5,
        sg=int(trainer == "skipgram"),
        alpha=LEARNING_RATES[trainer],
        min_alpha=1e-4,
        workers=1,
        epochs=epochs,
        seed=seed,
    )
    return list(model.wv.index_to_key), model.wv.vectors


def scores(words: list[str], vectors: Vectors) -> dict[str, float]:
    """Both sides are scored by the same code."""
    from gensim.models import KeyedVectors
    from gensim.test.utils import datapath

    from vecmill.evaluation.benchmarks import load_benchmark
    from vecmill.evaluation.similarity import word_similarity
    from vecmill.vectors.word_vectors import WordVectors

    ours = WordVectors(words, vectors)
    found = {name: word_similarity(ours, load_benchmark(name), n_resamples=10).spearman or 0.0 for name in SIMILARITY}
    keyed = KeyedVectors(vectors.shape[1])
    keyed.add_vectors(words[:ANALOGY_WORDS], vectors[:ANALOGY_WORDS])
    found[ANALOGIES], _ = keyed.evaluate_word_analogies(
        datapath("questions-words.txt"), restrict_vocab=ANALOGY_WORDS, case_insensitive=True
    )
    return found


def measure(corpus: Corpus, trainers: list[str], epochs: int, n_seeds: int) -> dict[str, Any]:
    result: dict[str, Any] = {}
    for trainer in trainers:
        sides: dict[str, list[dict[str, float]]] = {"ours": [], "gensim": []}
        for seed in range(1, n_seeds + 1):
            for side, train in (("ours", train_ours), ("gensim", train_gensim)):
                sides[side].append(scores(*train(corpus, trainer, epochs, seed)))
        result[trainer] = {}
        for name in (*SIMILARITY, ANALOGIES):
            row = {}
            for side, found in sides.items():
                values = [each[name] for each in found]
                row[side] = round(statistics.mean(values), 4)
                row[f"{side}_sd"] = round(statistics.stdev(values), 4) if n_seeds > 1 else 0.0
            result[trainer][name] = row
    rows = [row for trainer in trainers for row in result[trainer].values()]
    result["quality_ok"] = all(row["ours"] >= row["gensim"] - row["gensim_sd"] for row in rows)
    return result


def render(result: dict[str, Any], corpus: Corpus, epochs: int, n_seeds: int) -> str:
    """The figures as Markdown."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numba", "numpy", "gensim"))
    lines = [
        f"Reviews: {corpus.n_raw_words:,} words, {len(corpus.words):,} different with a count of 5 or more; "
        f"{epochs} epochs, {n_seeds} seeds, mean ± standard deviation over seeds; {versions}, {os.cpu_count()} cores",
        "",
        "| trainer | benchmark | ours | gensim |",
        "| --- | --- | ---: | ---: |",
    ]
    titles = SIMILARITY | {ANALOGIES: f"Google analogies, top {ANALOGY_WORDS:,}"}
    for trainer, rows in result.items():
        if trainer == "quality_ok":
            continue
        for name, row in rows.items():
            sides = " | ".join(f"{row[side]:.4f} ± {row[f'{side}_sd']:.4f}" for side in ("ours", "gensim"))
            lines.append(f"| {trainer} | {titles[name]} | {sides} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a part of the corpus, one epoch, one seed")
    parser.add_argument("--part", type=float, default=1.0, help="share of the reviews, 0-1")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each side")
    parser.add_argument("--trainers", nargs="+", choices=list(LEARNING_RATES), default=list(LEARNING_RATES))
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(QUICK)
    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        corpus = read_corpus(Path(name), part=arguments.part)
        result = measure(corpus, arguments.trainers, arguments.epochs, arguments.seeds)
        table = render(result, corpus, arguments.epochs, arguments.seeds)
    print(table)
    if arguments.write:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({"table": table, "result": result}, indent=1) + "\n", encoding="utf-8")
    print(f"RESULT {json.dumps(result)}")


if __name__ == "__main__":
    main()
