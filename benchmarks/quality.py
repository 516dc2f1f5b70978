"""How good the word vectors are, ours and gensim's with equal hyperparameters.

    python benchmarks/quality.py [--quick] [--part 1.0] [--epochs 5] [--seeds 3 cbow=8 ...]
                                 [--trainers skipgram cbow ...] [--sides ours gensim] [--write]

Both sides train on the same reviews (``benchmarks/reviews.py``): 100 dimensions, window 5, 5 negatives, sample 1e-3,
one thread, n-grams of 3 to 6 in 2,000,000 buckets where there are subwords. The row `cbow` takes the word2vec gradient,
so that both sides compute the same thing; `cbow_exact` is what a user of ours gets (the exact gradient, which divides
by the number of words in the window, at a learning rate of 0.1), beside the same trainings of gensim's.

Scores are Spearman correlations of the pairs of which both words have a vector (with subwords: also of words that were
never seen, or too rare for the vocabulary), and the share of Google analogies solved among the 30,000 commonest words,
as gensim counts them. Prints a table and, as its last line, RESULT and one JSON object: per trainer and benchmark
`ours`, `ours_sd`, `gensim`, `gensim_sd` over seeds, and `quality_ok`: our mean is nowhere below gensim's mean minus one
standard deviation.

With ``--write`` each training's scores are kept at once, and a training that stands in the file with the same settings
and library version is not repeated: hours of the peer's training survive a stop, and a new kernel of ours is compared
with the gensim runs that exist. Ours are kept by the digest of the trainer's code, so an edited kernel trains anew.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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
QUICK = {"part": 0.05, "epochs": 1, "seeds": ["1"]}

# What both sides are told.
COMMON: dict[str, Any] = {"dim": 100, "window": 5, "negative_samples": 5, "sample": 1e-3, "min_learning_rate": 1e-4}

Vectors = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Trained:
    """Vectors of the vocabulary, and what gives any words theirs (float32[n, dim], bool[n]), where something does."""

    words: list[str]
    vectors: Vectors
    compose: Callable[[Sequence[str]], tuple[Vectors, npt.NDArray[np.bool_]]] | None = None


@dataclass(frozen=True)
class Trainer:
    """One row of the comparison.

    Attributes
    ----------
    function : what is fingerprinted as our code
    learning_rate : what both sides start from, the default of word2vec.c and of fastText
    options : of our configuration, beyond COMMON
    peer : the row whose gensim trainings it is compared with, where not its own
    kind : our train.kind, where it is not the row's name
    """

    function: str
    learning_rate: float
    options: dict[str, Any]
    skipgram: bool
    subwords: bool = False
    peer: str | None = None
    kind: str | None = None


TRAINERS = {
    "skipgram": Trainer("vecmill.words.trainer:train_vectors", 0.025, {}, skipgram=True),
    "cbow": Trainer("vecmill.words.trainer:train_vectors", 0.05, {"cbow_gradient": "word2vec"}, skipgram=False),
    "cbow_exact": Trainer(
        "vecmill.words.trainer:train_vectors", 0.1, {"cbow_gradient": "exact"}, skipgram=False, peer="cbow", kind="cbow"
    ),
    "subword_skipgram": Trainer(
        "vecmill.words.subword_trainer:train_subword_vectors", 0.025, {}, skipgram=True, subwords=True
    ),
    "subword_cbow": Trainer(
        "vecmill.words.subword_trainer:train_subword_vectors", 0.05, {}, skipgram=False, subwords=True
    ),
}


def train_ours(corpus: Corpus, kind: str, epochs: int, seed: int) -> Trained:
    from pydantic import TypeAdapter

    from vecmill.words.kinds import WordsTrainConfig
    from vecmill.words.subword_trainer import train_subword_vectors
    from vecmill.words.trainer import train_vectors

    trainer = TRAINERS[kind]
    section = {"kind": trainer.kind or kind, "epochs": epochs, "threads": 1, "learning_rate": trainer.learning_rate}
    config: Any = TypeAdapter(WordsTrainConfig).validate_python(section | COMMON | trainer.options)
    if not trainer.subwords:
        done = train_vectors(corpus.token_ids, corpus.sentence_offsets, corpus.counts, config, seed=seed)
        return Trained(corpus.words, done.center_vectors)
    vectors = train_subword_vectors(
        corpus.token_ids, corpus.sentence_offsets, corpus.words, corpus.counts, config, seed=seed
    ).vectors
    return Trained(corpus.words, vectors.compose(corpus.words)[0], vectors.compose)


def train_gensim(corpus: Corpus, kind: str, epochs: int, seed: int) -> Trained:
    from gensim.models import FastText, Word2Vec

    trainer = TRAINERS[kind]
    chosen: dict[str, Any] = {
        **{"corpus_file": str(corpus.text), "vector_size": 100, "window": 5, "negative": 5, "sample": 1e-3},
        **{"ns_exponent": 0.75, "min_count": 5, "sg": int(trainer.skipgram), "alpha": trainer.learning_rate},
        **{"min_alpha": 1e-4, "workers": 1, "epochs": epochs, "seed": seed},
    }
    if not trainer.subwords:
        keyed = Word2Vec(**chosen).wv
        return Trained(list(keyed.index_to_key), keyed.vectors)
    keyed = FastText(min_n=3, max_n=6, bucket=2_000_000, **chosen).wv

    def compose(words: Sequence[str]) -> tuple[Vectors, npt.NDArray[np.bool_]]:
        return np.stack([keyed[word] for word in words]), np.ones(len(words), np.bool_)

    return Trained(list(keyed.index_to_key), keyed.vectors, compose)


SIDES = {"ours": train_ours, "gensim": train_gensim}


def scores(trained: Trained) -> dict[str, float]:
    """Both sides are scored by the same code."""
    from vecmill.evaluation.analogies import score_analogies
    from vecmill.evaluation.analogy_questions import load_analogies
    from vecmill.evaluation.benchmarks import load_benchmark
    from vecmill.evaluation.similarity import word_similarity
    from vecmill.vectors.word_vectors import WordVectors

    words, vectors = trained.words, trained.vectors
    asked_of = WordVectors(words[:ANALOGY_WORDS], np.ascontiguousarray(vectors[:ANALOGY_WORDS]))
    found = {ANALOGIES: score_analogies(asked_of, load_analogies(ANALOGIES), n_words=ANALOGY_WORDS).accuracy or 0.0}
    benchmarks = {name: load_benchmark(name) for name in SIMILARITY}
    if trained.compose is not None:
        # The corpus is in lower case, so a word's letters are looked up that way.
        asked = {word.lower() for each in benchmarks.values() for word in (*each.words1, *each.words2)}
        unseen = sorted(asked - set(words))
        composed, known = trained.compose(unseen)
        words = [*words, *(word for word, is_known in zip(unseen, known, strict=True) if is_known)]
        vectors = np.concatenate([vectors, composed[known]])
    scored = WordVectors(words, np.ascontiguousarray(vectors))
    for name, benchmark in benchmarks.items():
        found[name] = word_similarity(scored, benchmark, n_resamples=10).spearman or 0.0
    return {name: round(float(value), 5) for name, value in found.items()}


@functools.cache
def version_of(side: str, kind: str) -> str:
    """What a kept training must have been made with to count."""
    if side == "gensim":
        return f"gensim {metadata.version('gensim')}"
    from vecmill.store.closure import code_digest

    return f"vecmill {code_digest((TRAINERS[kind].function,)).digest}"


class Runs:
    """The scores of each training; kept in a file where there is one."""

    def __init__(self, kept: list[dict[str, Any]], keep: Callable[[list[dict[str, Any]]], None] | None) -> None:
        self._kept, self._keep = kept, keep

    def scores(self, corpus: Corpus, side: str, kind: str, part: float, epochs: int, seed: int) -> dict[str, float]:
        run: dict[str, Any] = {"trainer": kind, "side": side, "version": version_of(side, kind), "seed": seed}
        run |= {"part": part, "epochs": epochs}
        for each in self._kept:
            if {name: each[name] for name in run} == run:
                found: dict[str, float] = each["scores"]
                return found
        started = time.perf_counter()
        found = scores(SIDES[side](corpus, kind, epochs, seed))
        print(f"{kind}, {side}, seed {seed}: {time.perf_counter() - started:.0f} s  {found}", flush=True)
        place = {name: run[name] for name in run if name != "version"}
        self._kept = [each for each in self._kept if {name: each[name] for name in place} != place]
        self._kept.append(run | {"scores": found})
        if self._keep:
            self._keep(self._kept)
        return found


def seeds_of(given: Sequence[str]) -> Callable[[str], int]:
    """The trainings of each side that a row takes: `3 cbow=8` is eight for cbow and three for all others."""
    usual = next((int(each) for each in given if "=" not in each), 3)
    own = {name: int(number) for name, _, number in (each.partition("=") for each in given if "=" in each)}
    if unknown := set(own) - set(TRAINERS):
        sys.exit(f"--seeds names {sorted(unknown)}; the trainers are {list(TRAINERS)}")
    return lambda trainer: own.get(trainer, own.get(TRAINERS[trainer].peer or trainer, usual))


def measure(corpus: Corpus, runs: Runs, options: argparse.Namespace) -> dict[str, Any]:
    result: dict[str, Any] = {}
    n_seeds = seeds_of(options.seeds)
    for trainer in options.trainers:
        kinds = {"ours": trainer, "gensim": TRAINERS[trainer].peer or trainer}
        sides = {
            side: [
                runs.scores(corpus, side, kinds[side], options.part, options.epochs, seed)
                for seed in range(1, n_seeds(trainer) + 1)
            ]
            for side in options.sides
        }
        result[trainer] = {}
        for name in (*SIMILARITY, ANALOGIES):
            row = {}
            for side, found in sides.items():
                values = [each[name] for each in found]
                row[side] = round(statistics.mean(values), 4)
                row[f"{side}_sd"] = round(statistics.stdev(values), 4) if len(values) > 1 else 0.0
            result[trainer][name] = row
    if set(options.sides) == set(SIDES):
        rows = [row for trainer in options.trainers for row in result[trainer].values()]
        result["quality_ok"] = all(row["ours"] >= row["gensim"] - row["gensim_sd"] for row in rows)
    return result


def render(result: dict[str, Any], corpus: Corpus, options: argparse.Namespace) -> str:
    """The figures as Markdown."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numba", "numpy", "gensim"))
    lines = [
        f"Reviews: {corpus.n_raw_words:,} words, {len(corpus.words):,} different with a count of 5 or more; "
        f"{options.epochs} epochs, mean ± standard deviation over seeds; {versions}, "
        f"{os.cpu_count()} cores. Not worse: our mean is at least gensim's minus its standard deviation.",
        "",
        "| trainer | seeds | benchmark | ours | gensim | not worse |",
        "| --- | ---: | --- | ---: | ---: | :---: |",
    ]
    n_seeds = seeds_of(options.seeds)
    titles = SIMILARITY | {ANALOGIES: f"Google analogies, top {ANALOGY_WORDS:,}"}
    for trainer in options.trainers:
        for name, row in result[trainer].items():
            sides = [f"{row[side]:.4f} ± {row[f'{side}_sd']:.4f}" if side in row else "" for side in SIDES]
            judged = len(options.sides) == len(SIDES)
            verdict = ("yes" if row["ours"] >= row["gensim"] - row["gensim_sd"] else "**no**") if judged else ""
            place = f"{trainer.replace('_', ' ')} | {n_seeds(trainer)}"
            lines.append(f"| {place} | {titles[name]} | {' | '.join(sides)} | {verdict} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a part of the corpus, one epoch, one seed")
    parser.add_argument("--part", type=float, default=1.0, help="share of the reviews, 0-1")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", nargs="+", default=["3"], help="trainings of each side; 3 cbow=8: eight for cbow")
    parser.add_argument("--trainers", nargs="+", choices=list(TRAINERS), default=list(TRAINERS))
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES), help="who is trained")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(QUICK)
    written: dict[str, Any] = {}
    if arguments.write and RESULTS.exists():
        written = json.loads(RESULTS.read_text(encoding="utf-8"))

    def keep(runs: list[dict[str, Any]]) -> None:
        written["runs"] = sorted(runs, key=lambda each: (each["trainer"], each["side"], each["epochs"], each["seed"]))
        partial = RESULTS.with_suffix(".partial")
        partial.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
        partial.replace(RESULTS)

    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        corpus = read_corpus(Path(name), part=arguments.part)
        kept = written.get("runs", [])
        result = measure(corpus, Runs(kept, keep if arguments.write else None), arguments)
        table = render(result, corpus, arguments)
    print(table)
    if arguments.write and "quality_ok" in result:
        written.update(table=table, result=result)
        keep(written["runs"])
    print(f"RESULT {json.dumps(result)}")


if __name__ == "__main__":
    main()
