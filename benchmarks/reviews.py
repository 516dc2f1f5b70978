"""The reviews corpus of the word benchmarks, as text for gensim and as ids for us."""

from __future__ import annotations

import os
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

CORPUS_VARIABLE = "VECMILL_BENCH_CORPUS"
USUAL_PLACE = Path(__file__).resolve().parents[2] / "shared/corpora/reviews.parquet"
MIN_COUNT = 5

_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?")


@dataclass(frozen=True)
class Corpus:
    """A review is a sentence; words rarer than MIN_COUNT are in the text file only.

    Attributes
    ----------
    text : one review a line, words between blanks
    words : by falling count
    counts : int64[n_words];  token_ids : int32[n_tokens];  sentence_offsets : int64[n_reviews + 1]
    n_raw_words : words of the text file
    """

    text: Path
    words: list[str]
    counts: npt.NDArray[np.int64]
    token_ids: npt.NDArray[np.int32]
    sentence_offsets: npt.NDArray[np.int64]
    n_raw_words: int


def read_corpus(folder: Path, *, part: float = 1.0) -> Corpus:
    """The corpus, or every n-th review of it; its text and arrays are written to ``folder``, the arrays mapped."""
    path = Path(os.environ.get(CORPUS_VARIABLE, USUAL_PLACE))
    if not path.exists():
        sys.exit(f"no corpus at {path}; set {CORPUS_VARIABLE} to a Parquet file with a column `text`")
    counts: Counter[str] = Counter()
    n_reviews = 0
    text = folder / "reviews.txt"
    with text.open("w") as lines:
        for batch in pq.ParquetFile(path).iter_batches(columns=["text"]):
            for review in batch.column("text").to_pylist():
                n_reviews += 1
                if int(n_reviews * part) == int((n_reviews - 1) * part):
                    continue
                words = _WORD.findall(review.lower().replace("<br />", " "))
                counts.update(words)
                lines.write(" ".join(words) + "\n")
    kept = sorted(
        (word for word, count in counts.items() if count >= MIN_COUNT), key=lambda word: (-counts[word], word)
    )
    ids = {word: word_id for word_id, word in enumerate(kept)}
    lengths: list[int] = []

    def sentences() -> Iterator[list[int]]:
        with text.open() as lines:
            for line in lines:
                found = [ids[word] for word in line.split() if word in ids]
                lengths.append(len(found))
                yield found

    token_ids = np.fromiter(chain.from_iterable(sentences()), np.int32)
    np.save(folder / "token_ids.npy", token_ids)
    return Corpus(
        text,
        kept,
        np.array([counts[word] for word in kept], np.int64),
        np.load(folder / "token_ids.npy", mmap_mode="r"),
        np.cumsum([0, *lengths]).astype(np.int64),
        counts.total(),
    )
