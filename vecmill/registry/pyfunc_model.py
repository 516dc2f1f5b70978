"""The model that MLflow stores: word vectors that answer *vectors* and *neighbours*.

MLflow copies this file into the model (models-from-code) and runs the copy wherever the model is loaded, so it stands
alone: MLflow, NumPy, pandas and pyarrow, nothing of vecmill, and nothing pickled. Beside the copy lies the folder
``vectors`` as :class:`vecmill.vectors.word_vectors.WordVectors` saves it, of which ``vectors.npy``
(float32[n_words, dim]) and the column ``word`` of ``words.parquet`` are read here.

Usage::

    model = mlflow.pyfunc.load_model("models:/vecmill-words@champion")
    model.predict(["king", "queen"])                                               # vectors
    model.predict(["king", "queen"], params={"task": "neighbours", "n": 5})

Input: words, as a list, a Series or a DataFrame of one column. Parameters: ``task``, "vectors" (default) or
"neighbours"; ``n``, how many neighbours. Output: a DataFrame with one row per input word, in input order:

==============  =================================================================================
``word``        the word as it was asked for
``known``       whether the vocabulary has it; nothing is made up for a word that it does not have
``vector``      (vectors) list of ``dim`` floats, None for an unknown word
``neighbours``  (neighbours) up to n words by falling cosine, never the word itself; None for an unknown word
``cosines``     (neighbours) their cosines, in the same order; None for an unknown word
==============  =================================================================================

A known word whose vector is all zeros has no direction: its lists are empty, and it is nobody's neighbour.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from mlflow.models import set_model  # noqa: TID253 - MLflow runs this file; vecmill imports it only while registering
from mlflow.pyfunc import PythonModel  # noqa: TID253 - as above

TASKS = ("vectors", "neighbours")


class Answers:
    """What the model does; see the module's docstring for input and output."""

    def load_context(self, context: Any) -> None:
        """Open the vectors (memory-mapped) and read the words.

        Raises
        ------
        ValueError : words and vectors differ in number
        """
        folder = Path(context.artifacts["vectors"])
        self._vectors = np.load(folder / "vectors.npy", mmap_mode="r")
        self._words: list[str] = pq.read_table(folder / "words.parquet", columns=["word"])["word"].to_pylist()
        if len(self._words) != len(self._vectors):
            raise ValueError(
                f"{folder}: words.parquet has {len(self._words)} words, vectors.npy {len(self._vectors)} rows. "
                "Expected: one row per word. What to do: restore the folder from the registry, or register again."
            )
        self._id_of = {word: word_id for word_id, word in enumerate(self._words)}
        # einsum squares and sums without a second copy of the matrix, for which memory may not suffice
        self._norms = np.sqrt(np.einsum("ij,ij->i", self._vectors, self._vectors, dtype=np.float64))

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]
        """Answer one row per word.

        Raises
        ------
        ValueError : an unknown task, or n below 1
        """
        task, n = (params or {}).get("task", TASKS[0]), int((params or {}).get("n", 10))
        if task not in TASKS:
            raise ValueError(f"params['task'] is {task!r}. Expected: one of {', '.join(TASKS)}.")
        if n < 1:
            raise ValueError(f"params['n'] is {n}. Expected: a number of neighbours of at least 1.")
        words = list(model_input.iloc[:, 0] if isinstance(model_input, pd.DataFrame) else model_input)
        word_ids = [self._id_of.get(word) for word in words]
        answer: dict[str, list[Any]] = {"word": words, "known": [word_id is not None for word_id in word_ids]}
        if task == "vectors":
            answer["vector"] = [None if each is None else self._vectors[each].tolist() for each in word_ids]
        else:
            found = [(None, None) if each is None else self._neighbours(each, n) for each in word_ids]
            answer["neighbours"] = [words for words, _ in found]
            answer["cosines"] = [cosines for _, cosines in found]
        return pd.DataFrame({name: pd.Series(values, dtype=_DTYPES[name]) for name, values in answer.items()})

    def _neighbours(self, word_id: int, n: int) -> tuple[list[str], list[float]]:
        """The n words of highest cosine, ties by row."""
        if self._norms[word_id] == 0:
            return [], []
        with np.errstate(divide="ignore", invalid="ignore"):  # rows of norm 0, which are left out in the next line
            cosines = np.clip((self._vectors @ self._vectors[word_id]) / (self._norms * self._norms[word_id]), -1, 1)
        candidates = np.flatnonzero(self._norms > 0)
        candidates = candidates[candidates != word_id]
        if n < len(candidates):
            candidates = candidates[np.argpartition(-cosines[candidates], n)[:n]]
        best = candidates[np.lexsort((candidates, -cosines[candidates]))]
        return [self._words[each] for each in best], cosines[best].tolist()


class WordVectorsModel(Answers, PythonModel):  # type: ignore[misc]  # MLflow ships no types
    """:class:`Answers` as MLflow wants it.

    Two classes, because MLflow looks for type hints on a ``predict`` that stands in a model's own class, to read the
    signature from them, and warns everybody who loads a model without; our signature is given when it is stored.
    """


# Stated, so that a column without a known word keeps its type (pandas would make it a column of NaN).
_DTYPES = {"word": "object", "known": "bool", "vector": "object", "neighbours": "object", "cosines": "object"}

set_model(WordVectorsModel())
