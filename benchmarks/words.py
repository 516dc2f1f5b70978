"""How fast word vectors are trained, ours and gensim's side by side.

    python benchmarks/words.py [--quick | --full] [--rounds N] [--races NAME ...] [--write] [--again]

Both sides train on the same part of the reviews (``benchmarks/reviews.py``) in the same run, taking turns; vocabulary
and counts are those of all reviews, so that memory is met as it is in a whole epoch. Figures are medians.
Counted are raw words of the corpus per second of the training phase, without reading, counting words or compiling;
the row from text to vectors counts all of it (ours reads documents, splits and lower-cases them; gensim's file is split
already). gensim reads its fastest way, `corpus_file`, with one worker, and equal settings: window 5, 5 negatives drawn
by count to the 0.75, sample 1e-3, one epoch. The last line is RESULT and one JSON object, ratios being ours over
gensim's:

    skipgram_100_vs_gensim, skipgram_300_vs_gensim, cbow_100_vs_gensim, subword_100_vs_gensim,
    subword_cbow_100_vs_gensim
    scaling_2, gensim_scaling_2    two threads over one, skip-gram 100
    end_to_end_vs_gensim           from text to vectors, one thread
    skipgram_1m_300_vs_gensim      a generated vocabulary of a million words (--full)
    glove_updates_per_second       as benchmarks/glove.py --write last measured it
    rss_over_model_bytes, rss_over_model_1m_bytes    peak memory of a process that trains skip-gram, over its matrices
                                   and the mapped token file, whose pages are the page cache's
    first_kernel_seconds, first_kernel_warm_seconds  compilation of a skip-gram kernel in a fresh process, and again

With ``--write`` each round is kept at once in results/words.json, and rounds that stand there for the same code,
versions and size are not repeated, so a run that was stopped goes on; ``--again`` measures all anew.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import statistics
import tempfile
from importlib import metadata
from pathlib import Path
from typing import Any

from reviews import Corpus, read_corpus
from word_races import BIG_DIM, Race, big_corpus, first_part, memory_of, races, warm_kernel_seconds

RESULTS = Path(__file__).resolve().parent / "results/words.json"
GLOVE_RESULTS = RESULTS.with_name("glove.json")
QUICK_PART, FULL_PART = 0.05, 0.15


@functools.cache
def _version(side: str, race: str) -> str:
    """What a kept round must have been measured with to count: of ours, the code that this race runs."""
    if side == "gensim":
        return f"gensim {metadata.version('gensim')}"
    from vecmill.store.closure import code_digest

    functions = next((each.functions for each in races() if each.name == race), ())
    return f"vecmill {code_digest(functions).digest}"


class Rounds:
    """Words per second of each race, side and round, kept in a file where asked to."""

    def __init__(self, size: str, *, write: bool, again: bool) -> None:
        self._size, self._write = size, write
        self.document: dict[str, Any] = json.loads(RESULTS.read_text("utf-8")) if write and RESULTS.exists() else {}
        rows = self.document.get("rounds", [])
        self._rows = [row for row in rows if row["size"] != size or (not again and row["version"] == self._of(row))]

    def take(self, race: Race, corpus: Corpus, number: int) -> None:
        """Time both sides of a round, one after the other, unless it stands already."""
        kept = [row["side"] for row in self._rows_of(race) if row["round"] == number]
        if set(kept) == set(race.sides):
            return
        self._rows = [row for row in self._rows if row not in self._rows_of(race) or row["round"] != number]
        for side, run in race.sides.items():
            load = os.getloadavg()[0]
            speed = corpus.n_raw_words / run(corpus)
            print(f"round {number}, {race.name}, {side}: {speed / 1e6:.3f} M words/s, load {load:.1f}", flush=True)
            row = {
                "size": self._size,
                "race": race.name,
                "side": side,
                "round": number,
                "version": _version(side, race.name),
            }
            self._rows.append({**row, "processor": processor(), "load": round(load, 2), "words_per_second": speed})
        self.keep({})

    def speeds(self, race: Race, side: str) -> list[float]:
        return [row["words_per_second"] for row in self._rows_of(race) if row["side"] == side]

    def most_load(self) -> float:
        return max(row["load"] for row in self._rows if row["size"] == self._size)

    def keep(self, more: dict[str, Any]) -> None:
        if not self._write:
            return
        self.document |= {**more, "rounds": self._rows}
        partial = RESULTS.with_suffix(".partial")
        partial.write_text(json.dumps(self.document, indent=1) + "\n", encoding="utf-8")
        partial.replace(RESULTS)

    def _rows_of(self, race: Race) -> list[dict[str, Any]]:
        return [row for row in self._rows if (row["size"], row["race"]) == (self._size, race.name)]

    @staticmethod
    def _of(row: dict[str, Any]) -> str:
        return _version(row["side"], row["race"]) if row["processor"] == processor() else "another machine"


def summary(rounds: Rounds, entered: list[Race]) -> dict[str, Any]:
    result: dict[str, Any] = {}
    middle = {
        (race.name, side): statistics.median(rounds.speeds(race, side)) for race in entered for side in race.sides
    }
    for race in entered:
        ours, theirs = middle[race.name, "ours"], middle[race.name, "gensim"]
        result[f"{race.name}_vs_gensim"] = round(ours / theirs, 2)
        result[f"{race.name}_words_per_second"] = round(ours)
        result[f"gensim_{race.name}_words_per_second"] = round(theirs)
    one, two = "skipgram_100", "skipgram_100_threads_2"
    for side, name in (("ours", "scaling_2"), ("gensim", "gensim_scaling_2")):
        if (one, side) in middle and (two, side) in middle:
            result[name] = round(middle[two, side] / middle[one, side], 3)
    result.pop(f"{two}_vs_gensim", None)
    if GLOVE_RESULTS.exists():
        glove = json.loads(GLOVE_RESULTS.read_text("utf-8"))["result"]
        result["glove_updates_per_second"] = glove["glove_updates_per_second"]
    return result


def render(rounds: Rounds, entered: list[Race], result: dict[str, Any], corpus: Corpus, n_rounds: int) -> str:
    """The figures as Markdown."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("numba", "numpy", "gensim"))
    lines = [
        f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}; the machine's load "
        f"before a training was at most {rounds.most_load():.1f}, our own included.",
        "",
        f"The first {corpus.n_raw_words:,} words of the reviews, with the vocabulary of all of them "
        f"({len(corpus.words):,} words); medians of {n_rounds} rounds, both sides taking turns.",
        "",
        "| one epoch, one thread | million words/s | least – most | gensim | ratio | aim |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for race in entered:
        ours, theirs = ([speed / 1e6 for speed in rounds.speeds(race, side)] for side in ("ours", "gensim"))
        middle, peer = statistics.median(ours), statistics.median(theirs)
        aim = f"≥ {race.aim:g}" if race.aim else ""
        spread = f"{min(ours):.2f} – {max(ours):.2f}"
        lines.append(f"| {race.title} | {middle:.2f} | {spread} | {peer:.3f} | {middle / peer:.1f} | {aim} |")
    lines += ["", "| figure | measured | aim |", "| --- | ---: | ---: |"]
    if "scaling_2" in result:
        theirs_2 = result["gensim_scaling_2"]
        lines.append(f"| two threads over one | {result['scaling_2']:.2f} (gensim {theirs_2:.2f}) | ≥ 1.85 |")
    for name, title in (("rss_over_model_bytes", ""), ("rss_over_model_1m_bytes", ", a million words of 300")):
        if name in result:
            lines.append(
                f"| peak memory over model and mapped tokens{title} | {result[name] / 1e6:.0f} MB | ≤ 300 MB |"
            )
    lines.append(f"| first kernel ready, cold | {result['first_kernel_seconds']:.1f} s | ≤ 5 s |")
    lines.append(f"| the same kernel again | {result['first_kernel_warm_seconds']:.3f} s | at once |")
    return "\n".join(lines)


def processor() -> str:
    """The processor's name, as the kernel tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def main() -> None:
    names = [race.name for race in races()]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help=f"{QUICK_PART:g} of the reviews, 3 rounds (the default)")
    size.add_argument("--full", action="store_true", help=f"{FULL_PART:g} of the reviews, 5 rounds")
    parser.add_argument("--rounds", type=int, help="rounds of each race")
    parser.add_argument("--races", nargs="+", choices=names, default=names)
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    parser.add_argument("--again", action="store_true", help="do not count rounds that were kept")
    arguments = parser.parse_args()
    n_rounds = arguments.rounds or (5 if arguments.full else 3)
    entered = [race for race in races() if race.name in arguments.races and (arguments.full or not race.on_big)]
    with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
        corpus = read_corpus(Path(name))
        part = first_part(corpus, FULL_PART if arguments.full else QUICK_PART, Path(name))
        rounds = Rounds("full" if arguments.full else "quick", write=arguments.write, again=arguments.again)
        for number in range(1, n_rounds + 1):
            for race in entered:
                if not race.on_big:
                    rounds.take(race, part, number)
        memory: dict[str, float] = {}
        memory["rss_over_model_bytes"], memory["first_kernel_seconds"] = memory_of(corpus, 100)
        memory["first_kernel_warm_seconds"] = warm_kernel_seconds()
        if any(race.on_big for race in entered):
            big = big_corpus(Path(name))
            for race in entered:
                if race.on_big:
                    rounds.take(race, big, 1)
            memory["rss_over_model_1m_bytes"], _ = memory_of(big, BIG_DIM)
        result = {**summary(rounds, entered), **memory}
        table = render(rounds, entered, result, part, n_rounds)
    print(table)
    rounds.keep({"table": table, "result": result})
    print(f"RESULT {json.dumps(result)}")


if __name__ == "__main__":
    main()
