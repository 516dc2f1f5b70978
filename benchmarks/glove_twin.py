"""The authors' GloVe and ours from the same beginning: do they do the same arithmetic?

    VECMILL_GLOVE_C=FOLDER python benchmarks/glove_twin.py [--quick] [--part 0.2] [--epochs 10] [--seed 1] [--write]

Two trainings with equal settings and seeds of their own differ by their draws, and on a small corpus the scores of such
trainings differ visibly (``benchmarks/glove_quality.py``). Here the draws are the same: our kernel gets the authors'
shuffled file and the numbers that their program begins with (the C library's ``rand``, in its order), once in float64
as they compute and once in float32 as ours does. Prints the scores of the three and, as its last line, RESULT and one
JSON object with them and the largest difference of a number in the word vectors from the authors'.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import platform
import sys
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from glove_peer import ALPHA, RECORD, VARIABLE, AuthorsGlove, authors_glove
from glove_quality import DIM, WINDOW, X_MAX
from quality import ANALOGIES, ANALOGY_WORDS, SIMILARITY, Trained, scores
from reviews import read_corpus

RESULTS = Path(__file__).resolve().parent / "results/glove_twin.json"
QUICK = {"part": 0.02, "epochs": 3}
LEARNING_RATE = 0.05
GREATEST_RAND = 2**31 - 1  # RAND_MAX of the GNU C library


def authors_first_numbers(n_words: int, dim: int, seed: int) -> npt.NDArray[np.float64]:
    """float64[2, n_words, dim + 1]: word and context rows, each a vector and its bias, as their program begins."""
    library = ctypes.CDLL("libc.so.6")
    library.srand(seed)
    rows = np.empty((2 * n_words, dim + 1))
    for column in range(dim + 1):
        rows[:, column] = [library.rand() for _ in range(2 * n_words)]
    return ((rows / GREATEST_RAND - 0.5) / (dim + 1)).reshape(2, n_words, dim + 1)


def authors_entries(path: Path) -> npt.NDArray[Any]:
    """PAIR[n]: their shuffled file, whose words count from 1."""
    from vecmill.kernels.cooccurrence import PAIR

    records = np.fromfile(path, RECORD)
    entries = np.empty(records.size, PAIR)
    for ours, theirs in zip(("row", "col"), RECORD.names[:2], strict=True):
        entries[ours] = records[theirs] - 1
    entries["value"] = records[RECORD.names[2]]
    return entries


def our_vectors(
    entries: npt.NDArray[Any], first: npt.NDArray[np.float64], epochs: int, dtype: type[np.floating]
) -> npt.NDArray[np.float64]:
    """float64[n_words, DIM], sums of both vectors of each word, by our kernel in the order of ``entries``."""
    from vecmill.kernels.glove import train_glove
    from vecmill.words.glove_model import initial_glove, vectors_of

    model = initial_glove(
        first.shape[1], DIM, LEARNING_RATE, np.random.default_rng(0), dtype=dtype, bias_learning_rate=1.0
    )
    for side, bias, rows in ((model.center, DIM, first[0]), (model.context, DIM + 1, first[1])):
        side[:, 0, :DIM], side[:, 0, bias] = rows[:, :DIM], rows[:, DIM]
    for _ in range(epochs):
        train_glove(entries, model.center, model.context, X_MAX, ALPHA, False)
    both = [vectors_of(side, DIM).astype(np.float64) for side in (model.center, model.context)]
    return both[0] + both[1]


def measure(peer: AuthorsGlove, words: list[str], options: argparse.Namespace) -> dict[str, Any]:
    if peer.count_words() != words:
        sys.exit("the two sides have different vocabularies")
    n_entries = peer.count_pairs(WINDOW)
    peer.shuffle(options.seed)
    theirs = peer.train(
        n_words=len(words),
        dim=DIM,
        epochs=options.epochs,
        threads=1,
        learning_rate=LEARNING_RATE,
        x_max=X_MAX,
        seed=options.seed,
    )
    entries = authors_entries(peer.shuffled)
    first = authors_first_numbers(len(words), DIM, options.seed)
    result: dict[str, Any] = {"n_entries": n_entries, "authors": scores(Trained(words, theirs))}
    for dtype in (np.float64, np.float32):
        ours = our_vectors(entries, first, options.epochs, dtype)
        name = dtype.__name__
        result[f"ours_{name}"] = scores(Trained(words, ours.astype(np.float32)))
        result[f"largest_difference_{name}"] = float(np.abs(ours - theirs).max())
    return result


def render(result: dict[str, Any], options: argparse.Namespace) -> str:
    """The figures as Markdown."""
    versions = f"numba {metadata.version('numba')}, numpy {np.__version__}, {platform.libc_ver()[0]}"
    share = f"{options.part:.0%} of the reviews, {result['n_entries']:,} entries of X, {options.epochs} epochs"
    sides = {"the authors' C": "authors", "ours, float64": "ours_float64", "ours, float32": "ours_float32"}
    lines = [
        f"{share}, seed {options.seed}, one thread; {versions}.",
        "",
        f"| the authors' order and first numbers | {' | '.join(sides)} |",
        "| --- | ---: | ---: | ---: |",
    ]
    titles = SIMILARITY | {ANALOGIES: f"Google analogies, top {ANALOGY_WORDS:,}"}
    for name, title in titles.items():
        lines.append(f"| {title} | {' | '.join(f'{result[side][name]:.5f}' for side in sides.values())} |")
    differences = [f"{result[f'largest_difference_{name}']:.1e}" for name in ("float64", "float32")]
    lines.append(f"| largest difference of a number from the authors' | | {' | '.join(differences)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a part of the corpus and three epochs")
    parser.add_argument("--part", type=float, default=0.2, help="share of the reviews, 0-1")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    options = parser.parse_args()
    if options.quick:
        vars(options).update(QUICK)
    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        folder = Path(name)
        corpus = read_corpus(folder, part=options.part)
        peer = authors_glove(corpus.text, folder)
        if peer is None:
            sys.exit(f"set {VARIABLE} to the folder of the authors' programs")
        result = measure(peer, corpus.words, options)
    table = render(result, options)
    print(table)
    if options.write:
        RESULTS.write_text(json.dumps({"table": table, "result": result}, indent=1) + "\n", encoding="utf-8")
    print(f"RESULT {json.dumps(result)}")


if __name__ == "__main__":
    main()
