"""Configuration of the vocabulary and encode stages."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from vecmill.config.base import NOT_IN_KEY, Config
from vecmill.config.sizes import ByteSize


class PhrasesConfig(Config):
    """Which neighbouring words become one unit, as new york becomes new_york."""

    scoring: Literal["word2phrase", "npmi"] = Field(
        default="word2phrase",
        description="word2phrase: (n_ab - min_count) N / (n_a n_b), Mikolov et al. 2013b; npmi: normalised pointwise "
        "mutual information, Bouma 2009, from -1 to 1. Default: word2phrase",
    )
    min_count: int = Field(
        default=5,
        ge=1,
        description="times that two words must stand side by side. Default: 5, the word2phrase tool",
    )
    threshold: float | None = Field(
        default=None,
        description="score above which they are a phrase; null takes 100 for word2phrase (as that tool does) and 0.5 "
        "for npmi (our choice). Default: null",
    )
    rounds: int = Field(
        default=1,
        ge=1,
        le=4,
        description="times that neighbours are joined; n rounds make phrases of up to 2^n words, with a pass over the "
        "corpus each. Default: 1, as in the word2phrase tool and gensim",
    )
    max_size: int = Field(
        default=100_000,
        ge=1,
        description="phrases of a round at most, those with the highest scores. Default: 100000, our choice: so many "
        "take some tens of MB",
    )

    @property
    def least_score(self) -> float:
        if self.threshold is not None:
            return self.threshold
        return 100.0 if self.scoring == "word2phrase" else 0.5


class VocabularyConfig(Config):
    """How words are told apart, counted and kept."""

    min_count: int = Field(
        default=5,
        ge=1,
        description="occurrences below which a word is left out. Default: 5, Mikolov et al. 2013 (word2vec tool)",
    )
    min_documents: int = Field(
        default=1,
        ge=1,
        description="different documents that a word must occur in. Default: 1, so that min_count alone decides",
    )
    max_size: int | None = Field(
        default=None,
        ge=2,
        description="keep at most this many words, the most frequent ones; null keeps all that reach min_count. "
        "Default: null, as in the word2vec tool",
    )
    pinned: tuple[str, ...] = Field(
        default=(),
        description="words that are kept whatever their count, provided that they occur, before any others where "
        "max_size cuts. Default: none",
    )
    token_pattern: Literal["unicode", "ascii", "whitespace"] = Field(
        default="unicode",
        description="what a word is: unicode (letters, marks and digits of any script, inner apostrophes), ascii "
        "([a-z0-9]+(?:'[a-z]+)?), whitespace (text that comes tokenised). Default: unicode, our choice",
    )
    lowercase: bool = Field(
        default=True,
        description="lower-case words (Unicode). Default: true, since the word similarity benchmarks are in lower case",
    )
    casefold: bool = Field(
        default=False,
        description="fold case as Unicode does for comparing, which goes beyond lower case: straße becomes strasse. "
        "Default: false, since a word should stay as readers write it",
    )
    phrases: PhrasesConfig | None = Field(
        default=None,
        description="join neighbouring words that occur together far oftener than by chance; phrases are kept whatever "
        "min_count and max_size say of words. null joins nothing. Default: null, as in the word2vec tool",
    )
    reservoir_size: int = Field(
        default=1000,
        ge=1,
        le=100_000,
        description="documents in the random sample kept beside the vocabulary. Default: 1000, our choice: "
        "a share of the corpus estimated from it has a standard error of at most 1.6 points",
    )
    reservoir_unit: Literal["document", "sentence"] = Field(
        default="document",
        description="what the sample consists of. Default: document, since words of a document are not independent",
    )
    reservoir_weighting: Literal["uniform", "length"] = Field(
        default="uniform",
        description="uniform gives every document the same chance, length a chance in proportion to its bytes. "
        "Default: uniform",
    )
    reservoir_text_chars: int = Field(
        default=20_000,
        ge=1,
        description="characters of a sampled document's text that are kept; the rest is cut off. Default: 20000, our "
        "choice: few documents are longer, and 1000 of them stay below 80 MB",
    )
    memory: ByteSize = Field(
        default=256_000_000,
        ge=1_000_000,
        json_schema_extra=NOT_IN_KEY,
        description="bytes (or 256MB, 1GiB) for the tables of distinct words while counting and the texts in flight; "
        "beyond it tables are spilled to disk. Counts are exact either way. Two pieces of a corpus counted at once "
        "have half each. On a Ray cluster each piece has this much, or half where it allows two at once, and Ray "
        "keeps it free for it. Default: 256MB, our choice, room for some 1.5 million distinct words",
    )
    disk: ByteSize | None = Field(
        default=None,
        ge=1_000_000,
        json_schema_extra=NOT_IN_KEY,
        description="bytes (or 10GB) that spilled tables may take; counting ends with an error when they would take "
        "more. Default: null, as much as there is",
    )
    max_entries: int | None = Field(
        default=None,
        ge=2,
        description="distinct words kept while counting, for streams whose words never end and where there is no disk: "
        "twice as many make the rarest go (Misra and Gries 1982), and a second pass counts those left exactly. The "
        "vocabulary's certificate states what may be missing. Default: null, exact counts of all words",
    )
    threads: int = Field(
        default=0,
        ge=0,
        json_schema_extra=NOT_IN_KEY,
        description="threads that tokenise and count; 0 means one for each available core. Default: 0",
    )


class EncodeConfig(Config):
    """How the corpus becomes sentences of word ids, by the token rules of the vocabulary."""

    sentence_unit: Literal["sentence", "line", "document"] = Field(
        default="sentence",
        description="what training windows never cross: sentence (line ends, and end marks before white space), line, "
        "or document. Default: sentence, as in Mikolov et al. 2013, whose corpora hold one sentence a line",
    )
    documents_share: float = Field(
        default=1.0,
        gt=0.0,
        le=1.0,
        allow_inf_nan=False,
        description="share of the documents that are encoded, drawn by the priorities of the vocabulary's reservoir; a "
        "smaller share is part of a larger one. Vocabulary and counts are those of all documents. Default: 1, all",
    )
    validation_share: float = Field(
        default=0.0,
        ge=0.0,
        le=0.5,
        allow_inf_nan=False,
        description="share of the documents, chosen by a hash of their ids, that is left out of training and that the "
        "vectors are then judged by. Vocabulary and counts are those of all documents. Default: 0, as in word2vec.c",
    )
    validation_fold: int = Field(
        default=0,
        ge=0,
        description="which of the 1 / validation_share parts of the documents is held out, from 0, as in k-fold cross-"
        "validation. Default: 0, the first",
    )
    threads: int = Field(
        default=0,
        ge=0,
        json_schema_extra=NOT_IN_KEY,
        description="threads that tokenise and look up ids; 0 means one for each available core. Default: 0",
    )

    @model_validator(mode="after")
    def _fold_exists(self) -> EncodeConfig:
        if self.validation_fold >= (n := n_folds(self.validation_share)):
            raise ValueError(
                f"validation_fold {self.validation_fold} of {n} folds (validation_share "
                f"{self.validation_share:g}); name one from 0 to {n - 1}"
            )
        return self


def n_folds(share: float) -> int:
    """How many parts with a share of the documents fit beside each other; 1 for a share of 0."""
    return int(1 / share + 1e-9) if share else 1
