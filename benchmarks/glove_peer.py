"""The GloVe authors' C programs, where somebody has built them: the peer of the GloVe benchmarks.

VECMILL_GLOVE_C names a folder with `vocab_count`, `cooccur`, `shuffle` and `glove`, built from the sources of
https://github.com/stanfordnlp/GloVe (`gcc -O3 -march=native -funroll-loops`, as its Makefile says). Without it the
benchmarks measure our side alone.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt

VARIABLE = "VECMILL_GLOVE_C"
PROGRAMS = ("vocab_count", "cooccur", "shuffle", "glove")
MIN_COUNT = 5
ALPHA = 0.75
# What `cooccur` and `shuffle` may take, in GiB. More costs them time to clear, less has them spill more often.
MEMORY = "2"
# One entry of X in their files.
RECORD = np.dtype([("row", np.int32), ("col", np.int32), ("value", np.float64)])


class AuthorsGlove:
    """Counts a text file and trains on it in a folder.

    Parameters
    ----------
    programs : the folder with the programs
    text : a sentence a line, words between blanks
    folder : for their files; an entry of X takes 16 bytes, three times over
    """

    def __init__(self, programs: Path, text: Path, folder: Path) -> None:
        self._programs, self._text, self._folder = programs, text, folder
        self._vocabulary, self._counted = folder / "vocabulary.txt", folder / "counted.bin"

    @property
    def version(self) -> str:
        """A digest of the programs."""
        digest = hashlib.sha256()
        for name in PROGRAMS:
            digest.update((self._programs / name).read_bytes())
        return digest.hexdigest()[:16]

    def count_words(self) -> list[str]:
        """The vocabulary: words with a count of MIN_COUNT or more, by falling count, then word."""
        self._run("vocab_count", {"min-count": MIN_COUNT}, self._text, self._vocabulary)
        return [line.split()[0] for line in self._vocabulary.read_text(encoding="utf-8").splitlines()]

    def count_pairs(self, window: int) -> int:
        """Count co-occurrences; returns how many entries of X there are."""
        options = {"symmetric": 1, "window-size": window, "vocab-file": self._vocabulary, "memory": MEMORY}
        options["overflow-file"] = self._folder / "overflow"
        self._run("cooccur", options, self._text, self._counted)
        return self._counted.stat().st_size // RECORD.itemsize

    @property
    def shuffled(self) -> Path:
        """The shuffled entries of X, RECORD after RECORD."""
        return self._folder / "shuffled.bin"

    def shuffle(self, seed: int) -> None:
        options = {"memory": MEMORY, "temp-file": self._folder / "shuffling", "seed": seed}
        self._run("shuffle", options, self._counted, self.shuffled)

    def keep_first(self, n_entries: int) -> int:
        """Shorten the shuffled file to its first entries; returns how many it has."""
        size = min(self.shuffled.stat().st_size, n_entries * RECORD.itemsize)
        os.truncate(self.shuffled, size)
        return size // RECORD.itemsize

    def train(
        self, *, n_words: int, dim: int, epochs: int, threads: int, learning_rate: float, x_max: float, seed: int
    ) -> npt.NDArray[np.float32]:
        """Train on shuffled pairs; returns float32[n_words, dim], the sums of both vectors of each word."""
        result = self._folder / "trained"
        options = {"vector-size": dim, "iter": epochs, "threads": threads, "eta": learning_rate, "x-max": x_max}
        options |= {"alpha": ALPHA, "binary": 1, "seed": seed, "save-file": result, "vocab-file": self._vocabulary}
        options["input-file"] = self.shuffled
        self._run("glove", options, None, None)
        # both sides' rows, each a vector and its bias
        rows = np.fromfile(result.with_suffix(".bin"), np.float64).reshape(2, n_words, dim + 1)[:, :, :dim]
        return (rows[0] + rows[1]).astype(np.float32)

    def _run(self, program: str, options: dict[str, object], source: Path | None, target: Path | None) -> None:
        arguments = [text for name, value in options.items() for text in (f"-{name}", str(value))]
        read = source.open("rb") if source else None
        write = target.open("wb") if target else None
        try:
            subprocess.run(
                [self._programs / program, "-verbose", "0", *arguments],
                stdin=read or subprocess.DEVNULL,
                stdout=write or subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                check=True,
            )
        finally:
            for file in (read, write):
                if file:
                    file.close()


def authors_glove(text: Path, folder: Path) -> AuthorsGlove | None:
    """The peer; None where VECMILL_GLOVE_C is not set."""
    programs = os.environ.get(VARIABLE)
    return AuthorsGlove(Path(programs).resolve(), text, folder) if programs else None
