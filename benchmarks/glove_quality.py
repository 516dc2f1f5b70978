"""How good GloVe's vectors are, ours and those of the authors' C programs with equal hyperparameters.

    VECMILL_GLOVE_C=FOLDER python benchmarks/glove_quality.py [--quick] [--part 0.2] [--epochs 25] [--seeds 3]
                                                              [--learning-rate 0.05] [--sides ours authors] [--write]

Both sides count and train on the same reviews (``benchmarks/reviews.py``): 100 dimensions, window 10, x_max 100, alpha
0.75, one thread; the word vectors are the sums of both sides. The authors' programs are looked for as
``benchmarks/glove_peer.py`` says. Scores are those of ``benchmarks/quality.py``. Prints a table and, as its last line,
RESULT and one JSON object: per benchmark `ours`, `ours_sd`, `authors`, `authors_sd` over seeds, and `quality_ok`: our
mean is nowhere below the authors' mean minus one standard deviation.

With ``--write`` each training's scores are kept at once, and a training that stands in the file with the same settings
and version is not repeated. Ours count by the digest of the trainer's code, theirs by that of the programs. Settings
(part, epochs, learning rate) that have been measured stand below each other in the table, the largest part first; the
file's `result` is that of the first.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from glove_peer import VARIABLE, AuthorsGlove, authors_glove
from quality import ANALOGIES, ANALOGY_WORDS, SIMILARITY, Trained, scores
from reviews import Corpus, read_corpus

RESULTS = Path(__file__).resolve().parent / "results/glove_quality.json"
QUICK = {"part": 0.02, "epochs": 3, "seeds": 1}
DIM, WINDOW, X_MAX = 100, 10, 100.0
SIDES = ("ours", "authors")


@dataclass
class Sides:
    """What trains; the peer counts once for all its seeds, and only if it has to."""

    corpus: Corpus
    folder: Path
    peer: AuthorsGlove | None
    has_counted: bool = field(default=False)

    def version_of(self, side: str) -> str:
        if side == "authors":
            if self.peer is None:
                sys.exit(f"set {VARIABLE} to the folder of the authors' programs, or give --sides ours")
            return self.peer.version
        from vecmill.store.closure import code_digest

        return code_digest(("vecmill.words.glove_trainer:train_glove_vectors",)).digest

    def train(self, side: str, epochs: int, learning_rate: float, seed: int) -> npt.NDArray[np.float32]:
        """float32[n_words, DIM]"""
        if side == "ours":
            return self._train_ours(epochs, learning_rate, seed)
        assert self.peer is not None
        if not self.has_counted:
            if self.peer.count_words() != self.corpus.words:
                sys.exit("the two sides have different vocabularies")
            self.peer.count_pairs(WINDOW)
            self.has_counted = True
        self.peer.shuffle(seed)
        return self.peer.train(
            n_words=len(self.corpus.words),
            dim=DIM,
            epochs=epochs,
            threads=1,
            learning_rate=learning_rate,
            x_max=X_MAX,
            seed=seed,
        )

    def _train_ours(self, epochs: int, learning_rate: float, seed: int) -> npt.NDArray[np.float32]:
        from vecmill.words.glove_config import GloveConfig
        from vecmill.words.glove_trainer import train_glove_vectors

        config = GloveConfig(
            kind="glove", dim=DIM, window=WINDOW, x_max=X_MAX, epochs=epochs, learning_rate=learning_rate, threads=1
        )
        corpus = self.corpus
        with tempfile.TemporaryDirectory(dir=self.folder) as name:
            return train_glove_vectors(
                corpus.token_ids, corpus.sentence_offsets, corpus.counts, config, seed=seed, folder=Path(name)
            ).word_vectors


def measure(
    sides: Sides, kept: list[dict[str, Any]], keep: Callable[[], None], options: argparse.Namespace
) -> dict[str, Any]:
    """Scores of each side over seeds; what is trained goes to ``kept``, and ``keep`` is called."""
    found: dict[str, list[dict[str, float]]] = {side: [] for side in options.sides}
    for seed in range(1, options.seeds + 1):
        for side in options.sides:
            run: dict[str, Any] = {"side": side, "seed": seed, "part": options.part, "epochs": options.epochs}
            run |= {"learning_rate": options.learning_rate}
            version = sides.version_of(side)
            before = next((each for each in kept if run.items() <= each.items()), None)
            if before is None or before["version"] != version:
                if before is not None:
                    kept.remove(before)
                started = time.perf_counter()
                vectors = sides.train(side, options.epochs, options.learning_rate, seed)
                seconds = time.perf_counter() - started
                before = run | {"version": version, "scores": scores(Trained(sides.corpus.words, vectors))}
                kept.append(before)
                kept.sort(key=lambda each: tuple(str(each[name]) for name in run))
                keep()
                print(f"{side}, seed {seed}: {seconds:.0f} s  {before['scores']}", flush=True)
            found[side].append(before["scores"])
    result: dict[str, Any] = {}
    for name in (*SIMILARITY, ANALOGIES):
        result[name] = {}
        for side, each in found.items():
            values = [one[name] for one in each]
            result[name][side] = round(statistics.mean(values), 4)
            result[name][f"{side}_sd"] = round(statistics.stdev(values), 4) if len(values) > 1 else 0.0
    if set(options.sides) == set(SIDES):
        result["quality_ok"] = all(not_worse(result[name]) for name in (*SIMILARITY, ANALOGIES))
    return result


def not_worse(row: dict[str, float]) -> bool:
    return row["ours"] >= row["authors"] - row["authors_sd"]


def render(result: dict[str, Any], corpus: Corpus, options: argparse.Namespace) -> str:
    """The figures as Markdown."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numba", "numpy"))
    lines = [
        f"Reviews: {corpus.n_raw_words:,} words, {len(corpus.words):,} different with a count of 5 or more; "
        f"{options.epochs} epochs, learning rate {options.learning_rate:g}, {options.seeds} seeds, mean ± standard "
        f"deviation over seeds; {versions}, {os.cpu_count()} cores. Not worse: our mean is at least the authors' minus "
        "its standard deviation.",
        "",
        "| benchmark | ours | the authors' C | not worse |",
        "| --- | ---: | ---: | :---: |",
    ]
    titles = SIMILARITY | {ANALOGIES: f"Google analogies, top {ANALOGY_WORDS:,}"}
    for name, title in titles.items():
        row = result[name]
        cells = [f"{row[side]:.4f} ± {row[f'{side}_sd']:.4f}" if side in row else "" for side in SIDES]
        judged = len(options.sides) == len(SIDES)
        verdict = ("yes" if not_worse(row) else "**no**") if judged else ""
        lines.append(f"| {title} | {' | '.join(cells)} | {verdict} |")
    return "\n".join(lines)


def keep_table(written: dict[str, Any], result: dict[str, Any], table: str, *, options: argparse.Namespace) -> None:
    """Put these figures beside those of other settings."""
    setting = {"part": options.part, "epochs": options.epochs, "learning_rate": options.learning_rate}
    others = [each for each in written.get("settings", []) if each["setting"] != setting]
    settings = [*others, {"setting": setting, "result": result, "table": table}]
    settings.sort(key=lambda each: (each["setting"]["part"], each["setting"]["epochs"]), reverse=True)
    written["settings"] = settings
    written["table"] = "\n\n".join(each["table"] for each in settings)
    written["result"] = settings[0]["result"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="a part of the corpus, three epochs, one seed")
    parser.add_argument("--part", type=float, default=0.2, help="share of the reviews, 0-1; 0.2 is 20,000 of them")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each side")
    parser.add_argument("--learning-rate", type=float, default=0.05)
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES), help="who is trained")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    arguments = parser.parse_args()
    if arguments.quick:
        vars(arguments).update(QUICK)
    written: dict[str, Any] = {}
    if arguments.write and RESULTS.exists():
        written = json.loads(RESULTS.read_text(encoding="utf-8"))
    kept = written.setdefault("runs", [])

    def keep() -> None:
        if arguments.write:
            partial = RESULTS.with_suffix(".partial")
            partial.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
            partial.replace(RESULTS)

    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        folder = Path(name)
        corpus = read_corpus(folder, part=arguments.part)
        sides = Sides(corpus, folder, authors_glove(corpus.text, folder))
        result = measure(sides, kept, keep, arguments)
        table = render(result, corpus, arguments)
    print(table)
    if "quality_ok" in result:
        keep_table(written, result, table, options=arguments)
        keep()
    print(f"RESULT {json.dumps(result)}")


if __name__ == "__main__":
    main()
