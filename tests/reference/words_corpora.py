"""Small encoded corpora for tests of the word trainers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vecmill.store.stage import StageIO
from vecmill.vocabulary.token_store import TokenStoreWriter
from vecmill.vocabulary.vocabulary import Vocabulary


def planted_synonyms(n_topics: int = 20, n_sentences: int = 12_000, seed: int = 3) -> list[list[str]]:
    """Sentences "c a c'": topic k has synonyms ``k-one`` and ``k-two``, which meet the same four words only."""
    rng = np.random.default_rng(seed)
    sentences = []
    for topic, which, left, right in zip(
        rng.integers(0, n_topics, n_sentences),
        rng.integers(0, 2, n_sentences),
        *rng.integers(0, 4, (2, n_sentences)),
        strict=True,
    ):
        sentences.append([f"{topic}-near{left}", f"{topic}-{('one', 'two')[which]}", f"{topic}-near{right}"])
    return sentences


def vocabulary_of(sentences: list[list[str]]) -> Vocabulary:
    """All words of the sentences, each sentence taken for a document."""
    words, counts = np.unique([word for sentence in sentences for word in sentence], return_counts=True)
    order = sorted(range(len(words)), key=lambda i: (-counts[i], str(words[i])))
    n_documents = np.array([sum(words[i] in sentence for sentence in sentences[:50]) or 1 for i in order], np.int64)
    return Vocabulary([str(words[i]) for i in order], counts[order].astype(np.int64), n_documents)


def encoded(sentences: list[list[str]], vocabulary: Vocabulary) -> tuple[np.ndarray, np.ndarray]:
    """token_ids and sentence_offsets of the sentences."""
    token_ids = [vocabulary.ids[word] for sentence in sentences for word in sentence]
    return np.array(token_ids, np.int32), np.cumsum([0, *map(len, sentences)]).astype(np.int64)


def stage_io(
    folder: Path, sentences: list[list[str]], *, seed: int = 0, vocabulary: Vocabulary | None = None
) -> StageIO:
    """Artifacts of ``vocabulary`` and ``encode`` in a folder, and an empty output folder beside them."""
    vocabulary = vocabulary or vocabulary_of(sentences)
    inputs = {name: folder / name for name in ("vocabulary", "encode")}
    for path in (*inputs.values(), folder / "output"):
        path.mkdir(parents=True)
    vocabulary.save(inputs["vocabulary"])
    with TokenStoreWriter(inputs["encode"]) as writer:
        if sentences:
            writer.append(*encoded(sentences, vocabulary_of(sentences)))
    return StageIO(inputs=inputs, output=folder / "output", seed=seed)
