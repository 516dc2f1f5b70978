"""A finished model judged by any text: which token rules it was made with, and its score on the text."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.documents import iter_documents
from vecmill.corpus.ingest import ingest
from vecmill.errors import FormatError
from vecmill.evaluation.config import ValidationConfig
from vecmill.evaluation.context_pairs import draw_context_pairs
from vecmill.evaluation.held_out import iter_texts
from vecmill.evaluation.validation import ValidationScore, validate_pairs
from vecmill.store.stage import StageIO
from vecmill.text.rules import TokenRules
from vecmill.vectors.vector_files import load_context_vectors, load_vectors
from vecmill.vectors.word_vectors import WordVectors
from vecmill.vocabulary.phrases import PHRASES_NAME, Phrases
from vecmill.vocabulary.vocabulary import FILE_NAME, Vocabulary

# Words from the top of a vocabulary that tell whether it keeps case.
_N_CASE_WORDS = 10_000


@dataclass(frozen=True)
class OpenedModel:
    """A model with what is needed to judge it by text.

    Attributes
    ----------
    vectors : the model
    rules : how text is cut into its words;  rules_from : where they come from, for people
    context_vectors : float32[n_words, dim], None where it has none
    phrases : that the text is to be joined to; None where the model has none, or where nobody kept them
    phrases_lost : whether nobody kept them
    """

    vectors: WordVectors
    rules: TokenRules
    rules_from: str
    context_vectors: npt.NDArray[np.floating[Any]] | None = None
    phrases: Phrases | None = None
    phrases_lost: bool = False

    def with_rules(self, **changes: Any) -> OpenedModel:
        """The model with some of its rules replaced by the caller's."""
        if not changes:
            return self
        return dataclasses.replace(self, rules=dataclasses.replace(self.rules, **changes), rules_from="asked for")

    @property
    def rules_said(self) -> str:
        """The rules in words."""
        case = "lower case" if self.rules.lowercase else "case kept"
        folded = ", case folded" if self.rules.casefold else ""
        joined = "" if self.phrases is None else f", phrases joined: {len(self.phrases.table):,}"
        if self.phrases_lost:
            joined = ", its phrases not joined, since only its vocabulary artifact has the list"
        return f"{self.rules.pattern}, {case}{folded}{joined} ({self.rules_from})"


def open_model(
    path: Path, format_name: str | None = None, vocabulary_config: Mapping[str, Any] | None = None
) -> OpenedModel:
    """Open vectors, and find the token rules that they were made with.

    The rules are those of ``vocabulary_config``; else of the vocabulary that a train artifact in a local store was
    made with; else the default rules, with case kept if the commonest words have any capital letters.

    Parameters
    ----------
    path : as :func:`vecmill.vectors.vector_files.load_vectors` takes it
    vocabulary_config : configuration of the vocabulary stage, as its manifest keeps it

    Raises
    ------
    FormatError : as ``load_vectors`` raises it
    """
    vectors = load_vectors(path, format_name)
    context_vectors = load_context_vectors(path)
    section = (vocabulary_config or {}).get("vocabulary", vocabulary_config)
    if section and "token_pattern" in section:
        rules = TokenRules(section["token_pattern"], section["lowercase"], section.get("casefold", False))
        lost = section.get("phrases") is not None
        return OpenedModel(vectors, rules, "as the model was made", context_vectors, phrases_lost=lost)
    folder = _vocabulary_folder(path)
    if folder is not None:
        phrases = Phrases.load(folder) if (folder / PHRASES_NAME).exists() else None
        return OpenedModel(vectors, Vocabulary.load(folder).rules, "as the model was made", context_vectors, phrases)
    has_capitals = any(word != word.lower() for word in vectors.words[:_N_CASE_WORDS])
    rules = TokenRules(lowercase=not has_capitals)
    return OpenedModel(vectors, rules, "guessed from the model's words", context_vectors)


def validate_text(
    model: OpenedModel, corpus: CorpusConfig, config: ValidationConfig, *, seed: int = 0
) -> ValidationScore:
    """Judge a model by the documents of any sources; the cleaned text goes through a temporary folder.

    Raises
    ------
    SourceError, CredentialsError : as :func:`vecmill.corpus.ingest.ingest` raises them
    VocabularyError, FormatError : as :func:`vecmill.evaluation.validation.validate_pairs` raises them
    """
    with tempfile.TemporaryDirectory(prefix="vecmill-validate-") as folder:
        ingest(corpus, StageIO({}, Path(folder)))
        pairs = draw_context_pairs(
            iter_texts(iter_documents(Path(folder))),
            model.vectors.words,
            model.rules,
            window=config.window,
            n_pairs=config.n_pairs,
            seed=seed,
            phrases=model.phrases,
        )
    return validate_pairs(model.vectors, pairs, config, context_vectors=model.context_vectors, seed=seed)


def _vocabulary_folder(path: Path) -> Path | None:
    """The vocabulary artifact that stands in the same store as a train artifact (or its folder of vectors)."""
    for artifact in (path, path.parent):
        manifest = artifact / "manifest.json"
        if not manifest.is_file():
            continue
        try:
            key: str = json.loads(manifest.read_text(encoding="utf-8"))["parts"]["inputs"]["vocabulary"]
            folder = artifact.parent.parent / "vocabulary" / key
        except (ValueError, KeyError, TypeError) as error:
            raise FormatError(
                f"{manifest} does not say which vocabulary the vectors were made with ({type(error).__name__})",
                expected="the manifest of a train artifact",
                todo="name a train artifact, or copy the vectors folder elsewhere",
            ) from error
        if (folder / FILE_NAME).is_file():
            return folder
    return None
