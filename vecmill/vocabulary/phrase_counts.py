"""Finding phrases: neighbouring words counted out of core, and scored.

    word2phrase   (n_ab - min_count) N / (n_a n_b)        Mikolov et al. 2013b, sec. 4, with the scale of word2phrase.c
    npmi          ln(n_ab N / (n_a n_b)) / -ln(n_ab / N)  Bouma 2009, from -1 to 1

n_ab counts a and b side by side in a sentence, N words. gensim's default score is the first with its number of
different words and pairs in the place of N.

Pairs of words that are rarer than ``min_count`` are left out from the beginning, since no pair is more frequent than
its words. Of the others each batch is sorted and summed, tables that outgrow the budget are written, and merged block
by block; sums do not depend on order, so neither do the phrases.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from vecmill.kernels.phrase_pairs import pair_keys
from vecmill.text.rules import TokenRules
from vecmill.vocabulary.coded import CodedBlock, CodedCorpus
from vecmill.vocabulary.config import PhrasesConfig
from vecmill.vocabulary.passes import Corpus
from vecmill.vocabulary.phrases import Phrases, UnitIndex
from vecmill.vocabulary.tallies import Tallies
from vecmill.vocabulary.token_batches import Tools

PairSums = tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]

# A pair with its count, and what sorting them takes besides.
_PAIR_BYTES = 40
_MERGE_ROWS = 1 << 16


class PairCounts:
    """Counts of pairs within a budget of memory, the rest in files.

    Parameters
    ----------
    folder : an existing folder, for tables that are full; the caller removes it
    memory_bytes : budget
    """

    def __init__(self, folder: Path, memory_bytes: int) -> None:
        self._folder = folder
        self._most = max(1024, memory_bytes // _PAIR_BYTES)
        self._waiting: list[PairSums] = []
        self._n_waiting = 0
        self.n_runs = 0

    def add(self, keys: npt.NDArray[np.uint64], counts: npt.NDArray[np.int64]) -> None:
        """Add counts of different pairs, sorted."""
        self._waiting.append((keys, counts))
        self._n_waiting += len(keys)
        if self._n_waiting > self._most:
            keys, counts = _summed(self._waiting)
            if len(keys) > self._most // 2:
                for name, array in (("keys", keys), ("counts", counts)):
                    np.save(self._folder / f"pairs-{self.n_runs:05d}-{name}.npy", array)
                self.n_runs += 1
                keys, counts = keys[:0], counts[:0]
            self._waiting, self._n_waiting = [(keys, counts)], len(keys)

    def reaching(self, min_count: int) -> PairSums:
        """The pairs with at least ``min_count``, by key, and their counts."""
        kept = [(keys[counts >= min_count], counts[counts >= min_count]) for keys, counts in self._merged()]
        return _concatenated(kept)

    def _merged(self) -> Iterator[PairSums]:
        tables = [_summed(self._waiting)]
        for run in range(self.n_runs):
            names = (self._folder / f"pairs-{run:05d}-{name}.npy" for name in ("keys", "counts"))
            keys, counts = (np.load(path, mmap_mode="r", allow_pickle=False) for path in names)
            tables.append((keys, counts))
        starts = [0] * len(tables)
        while True:
            ahead = [
                keys[min(start + _MERGE_ROWS, len(keys)) - 1]
                for (keys, _), start in zip(tables, starts, strict=True)
                if start < len(keys)
            ]
            if not ahead:
                return
            # No table can still bring a pair below this but what is taken now.
            bound = min(ahead)
            block = []
            for k, (keys, counts) in enumerate(tables):
                stop = starts[k] + int(np.searchsorted(keys[starts[k] : starts[k] + _MERGE_ROWS], bound, side="right"))
                block.append((keys[starts[k] : stop], counts[starts[k] : stop]))
                starts[k] = stop
            yield _summed(block)


def find_phrases(
    corpus: Corpus | CodedCorpus,
    rules: TokenRules,
    words: list[str],
    config: PhrasesConfig,
    folder: Path,
    memory_bytes: int,
) -> Phrases:
    """The phrases of a corpus, in as many passes over it as there are rounds.

    Parameters
    ----------
    words : all that occur at least ``config.min_count`` times
    folder : an existing folder for tables that outgrow ``memory_bytes``; the caller removes it
    """
    phrases = Phrases.load(folder)
    for number in range(1, config.rounds + 1):
        pairs = PairCounts(folder, memory_bytes)
        units, tallies, n_units = count_units(corpus, rules, words, phrases, pairs)
        keys, n_both = pairs.reaching(config.min_count)
        first, second = (keys >> np.uint64(32)).astype(np.int64), (keys & np.uint64(0xFFFFFFFF)).astype(np.int64)
        scores = _scores(n_both, tallies[first, 0], tallies[second, 0], n_units, config)
        names = np.array(units, dtype=object)
        table = pl.DataFrame(
            {
                "round": np.full(len(keys), number, dtype=np.int32),
                "first": pl.Series(names[first], dtype=pl.String),
                "second": pl.Series(names[second], dtype=pl.String),
                "count": n_both,
                "score": scores,
            }
        )
        # Words that are rarer than min_count take part in nothing, be they pinned.
        frequent = pl.Series((tallies[first, 0] >= config.min_count) & (tallies[second, 0] >= config.min_count))
        found = (
            table.filter(frequent & (table["score"] > config.least_score))
            .sort("score", "first", "second", descending=[True, False, False])
            .head(config.max_size)
        )
        if len(found) == 0:
            break
        phrases = Phrases(pl.concat([phrases.table, found]))
    return phrases


def count_units(
    corpus: Corpus | CodedCorpus, rules: TokenRules, words: list[str], phrases: Phrases, pairs: PairCounts | None = None
) -> tuple[list[str], npt.NDArray[np.int64], int]:
    """Count words and phrases in one pass, and the pairs of them if wanted.

    Returns
    -------
    units : names, words first
    tallies : int64[n_units, 2], occurrences and documents
    n_units : how many the corpus has altogether, words outside the list included
    """
    tools = Tools(lambda: _UnitCounter(rules, words, phrases, with_pairs=pairs is not None), corpus.threads)

    def count(texts: pa.Array | CodedBlock) -> PairSums:
        with tools.one() as counter:
            return counter.count(texts)

    for _, (keys, counts) in corpus.map(count, "counting phrases"):
        if pairs is not None:
            pairs.add(keys, counts)
    tallies = np.asarray(sum(counter.tallies.table(len(counter.index.units)) for counter in tools.all))
    return tools.all[0].index.units, tallies, sum(counter.n_units for counter in tools.all)


class _UnitCounter:
    def __init__(self, rules: TokenRules, words: list[str], phrases: Phrases, *, with_pairs: bool) -> None:
        self.index = UnitIndex(rules, words, phrases)
        self.tallies = Tallies(len(self.index.units))
        self.n_units = 0
        self._with_pairs = with_pairs

    def count(self, texts: pa.Array | CodedBlock) -> PairSums:
        found, _ = self.index.find(texts)
        self.n_units += len(found.codes)
        self.tallies.add(found)
        keys = np.empty(len(found.codes) if self._with_pairs else 0, dtype=np.uint64)
        if self._with_pairs:
            units = np.where(found.codes >= 0, found.targets[found.codes], -1).astype(np.int32)
            keys = keys[: pair_keys(units, found.breaks, keys)]
        different, counts = np.unique(keys, return_counts=True)
        return different, counts.astype(np.int64)


def _scores(
    n_both: npt.NDArray[np.int64],
    n_first: npt.NDArray[np.int64],
    n_second: npt.NDArray[np.int64],
    n_units: int,
    config: PhrasesConfig,
) -> npt.NDArray[np.float64]:
    both, product = n_both.astype(np.float64), n_first.astype(np.float64) * n_second
    if config.scoring == "word2phrase":
        return np.asarray((both - config.min_count) / product * n_units)
    return np.asarray(np.log(both * n_units / product) / -np.log(both / n_units))


def _summed(tables: list[PairSums]) -> PairSums:
    keys, counts = _concatenated(tables)
    if len(tables) == 1 or len(keys) == 0:
        return keys, counts
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    return keys[starts], np.add.reduceat(counts[order], starts)


def _concatenated(tables: list[PairSums]) -> PairSums:
    keys = np.concatenate([np.zeros(0, dtype=np.uint64), *(keys for keys, _ in tables)])
    return keys, np.concatenate([np.zeros(0, dtype=np.int64), *(counts for _, counts in tables)])
