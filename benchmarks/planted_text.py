"""Generated text that has something to be learned: Zipf's law, and groups of words that meet in documents.

A word's rank spells it, in syllables; the word of rank r is drawn with a probability in proportion to 1/r. Of a
document's words 30 % are drawn from one group of 20 instead, which is the document's topic. Words of a group therefore
have the same neighbours, and trained vectors can be held against the groups.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

N_TYPES = 2_000_000
DOCUMENT_WORDS, SENTENCE_WORDS = 240, 20
FIRST_PLANTED, N_GROUPS, GROUP_WORDS = 2_000, 200, 20
_TOPIC_SHARE = 0.3
_BATCH_DOCUMENTS = 10_000
_SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
_N_PAIRS = 500
_NEIGHBOURS = 10


def spelled(rank: int) -> str:
    """The word of a rank, in letters alone: 2 of them up to rank 69, 4 up to 4,969, and so on."""
    syllables = []
    while True:
        rank, syllable = divmod(rank, len(_SYLLABLES))
        syllables.append(_SYLLABLES[syllable])
        if rank == 0:
            return "".join(syllables[::-1])
        rank -= 1


def planted_word(group: int, member: int) -> str:
    """A word of a group, each of which has rarer and more frequent ones."""
    return spelled(FIRST_PLANTED + group + N_GROUPS * member)


def write_shards(folder: Path, n_shards: int, n_bytes: int, seed: int = 1) -> Iterator[Path]:
    """Write ``shard-00.txt.zst`` and so on, documents one a line, about ``n_bytes`` of text in all of them together."""
    words = [spelled(rank) for rank in range(N_TYPES)]
    # Each word once with a blank behind it and once ending a sentence.
    table = pa.array([f"{word} " for word in words] + [f"{word}. " for word in words])
    for number in range(n_shards):
        rng = np.random.default_rng([seed, number])
        path = folder / f"shard-{number:02d}.txt.zst"
        n_left = n_bytes // n_shards
        with pa.OSFile(str(path), "wb") as raw, pa.CompressedOutputStream(raw, "zstd") as stream:
            while n_left > 0:
                text = _documents(table, rng)
                # At the end of a document, so that no word is cut.
                end = len(text) if n_left >= len(text) else text.find(b"\n", n_left) + 1 or len(text)
                stream.write(text[:end])
                n_left -= end
        yield path


def _documents(table: pa.Array, rng: np.random.Generator) -> bytes:
    n_words = _BATCH_DOCUMENTS * DOCUMENT_WORDS
    # Inverting the integral of 1/x.
    ranks = np.minimum(np.exp(rng.random(n_words) * np.log(N_TYPES + 1)).astype(np.int64) - 1, N_TYPES - 1)
    topics = np.repeat(rng.integers(0, N_GROUPS, _BATCH_DOCUMENTS), DOCUMENT_WORDS)
    of_topic = rng.random(n_words) < _TOPIC_SHARE
    ranks[of_topic] = (FIRST_PLANTED + topics + N_GROUPS * rng.integers(0, GROUP_WORDS, n_words))[of_topic]
    ranks[SENTENCE_WORDS - 1 :: SENTENCE_WORDS] += N_TYPES
    # What lies behind the strings one after the other is the text; the blank after a document's last word ends it.
    _, ends, letters = table.take(pa.array(ranks)).buffers()
    text = np.frombuffer(letters, dtype=np.uint8).copy()
    text[np.frombuffer(ends, dtype=np.int32)[DOCUMENT_WORDS : n_words + 1 : DOCUMENT_WORDS] - 1] = ord("\n")
    return text.tobytes()


def write_ratings(path: Path, seed: int = 1) -> None:
    """Write a benchmark of word pairs: 1 for two words of a group, 0 for two of different ones."""
    rng = np.random.default_rng(seed)
    lines = ["word1\tword2\tscore"]
    for _ in range(_N_PAIRS):
        group, other = rng.choice(N_GROUPS, 2, replace=False)
        one, two = rng.choice(GROUP_WORDS, 2, replace=False)
        lines.append(f"{planted_word(group, one)}\t{planted_word(group, two)}\t1")
        lines.append(f"{planted_word(group, one)}\t{planted_word(other, two)}\t0")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def neighbours_in_group(folder: Path) -> float:
    """Of the 10 nearest neighbours of every planted word among all words, the share that is of its group."""
    from vecmill.vectors.word_vectors import WordVectors

    vectors = WordVectors.load(folder)
    groups: npt.NDArray[np.int64] = np.full(len(vectors), -1)
    row_of = {word: row for row, word in enumerate(vectors.words)}
    for group in range(N_GROUPS):
        for member in range(GROUP_WORDS):
            if (row := row_of.get(planted_word(group, member))) is not None:
                groups[row] = group
    matrix = np.asarray(vectors.vectors, dtype=np.float32)
    matrix = matrix / np.maximum(np.linalg.norm(matrix, axis=1, keepdims=True), 1e-12)
    planted = np.flatnonzero(groups >= 0)
    n_right = 0
    for start in range(0, len(planted), 256):
        rows = planted[start : start + 256]
        cosines = matrix[rows] @ matrix.T
        cosines[np.arange(len(rows)), rows] = -np.inf
        nearest = np.argpartition(-cosines, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
        n_right += int((groups[nearest] == groups[rows, None]).sum())
    return n_right / (_NEIGHBOURS * len(planted))
