"""The encode stage: the corpus once more, as sentences of token ids in a memory-mapped store."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vecmill.corpus.shard_shares import names_let_through
from vecmill.errors import VocabularyError
from vecmill.kernels.word_table import OUTSIDE
from vecmill.store.manifest import ArtifactRef
from vecmill.store.stage import StageIO, StageReport
from vecmill.text.sentences import SentenceUnit
from vecmill.text.word_index import Sentences
from vecmill.vocabulary.coded import CODED_NAMES, CodedBlock, CodedCorpus
from vecmill.vocabulary.config import EncodeConfig
from vecmill.vocabulary.count_piece import KIND as COUNT_KIND
from vecmill.vocabulary.encode_progress import LENGTH_CLASSES, EncodeProgress, Position, encoding_digest
from vecmill.vocabulary.held_out import leave_out, write_held_out
from vecmill.vocabulary.passes import Corpus, corpus_of
from vecmill.vocabulary.phrases import Phrases, UnitIndex
from vecmill.vocabulary.share import documents_below
from vecmill.vocabulary.token_batches import Tools
from vecmill.vocabulary.token_store import SENTENCE_OFFSETS_NAME, TOKEN_IDS_NAME, TokenStoreWriter
from vecmill.vocabulary.vocabulary import Vocabulary


def encode_corpus(config: EncodeConfig, io: StageIO) -> StageReport:
    """Write every sentence of the corpus as word ids.

    Text is cut by the token rules that the vocabulary carries, and its phrases are joined. Where the vocabulary's
    pieces stand, they hold the corpus cut into words already (:mod:`vecmill.vocabulary.coded`), and no text is read;
    the token store is the same. Words outside the vocabulary
    are dropped, so the words to each side of one become neighbours, as in the word2vec tool; sentences that this
    empties are dropped as well.
    A sentence may have any length (gensim cuts at 10,000 words). Documents keep their order, and no sentence crosses
    from one into the next. The files are the same bytes for any number of threads. Documents held out for validation
    are not encoded; ``held_out.json`` says which they are, see :mod:`vecmill.vocabulary.held_out`.

    Where ``io.checkpoints`` is a folder the store grows there, and what a killed process had encoded is not encoded
    again, see :mod:`vecmill.vocabulary.encode_progress`. The bytes are those of an unbroken run.

    Raises
    ------
    VocabularyError : not one word of the corpus is in the vocabulary, or no document is left to encode
    FormatError : ``documents_share`` is below 1 and the vocabulary's sample cannot be read
    """
    vocabulary = Vocabulary.load(io.inputs["vocabulary"])
    keep = leave_out(config, documents_below(config.documents_share, io.inputs["vocabulary"]))
    coded = _coded_text(io)
    corpus: Corpus | CodedCorpus
    if coded is None:
        corpus = corpus_of(io, config.threads, keep)
    else:
        corpus = CodedCorpus(coded, config.threads, keep, partial(names_let_through, io))
    phrases = Phrases.load(io.inputs["vocabulary"])
    tools = Tools(lambda: UnitIndex(vocabulary.rules, vocabulary.words, phrases), config.threads)

    def encode(texts: pa.Array | CodedBlock) -> EncodedTexts:
        with tools.one() as index:
            return _encoded(index, texts, config.sentence_unit, len(vocabulary))

    folder = None if io.checkpoints is None else io.checkpoints / "tokens"
    progress = EncodeProgress(folder, "" if folder is None else encoding_digest(config, io))
    start = progress.load()
    n_found, n_documents, n_text_bytes, longest = start.n_found, start.n_documents, start.n_text_bytes, start.longest
    length_classes = np.array(start.length_classes, dtype=np.int64)
    row_group = start.next_row_group
    with TokenStoreWriter(folder or io.output, start.n_tokens, start.n_sentences) as store:
        for number, _, encoded in corpus.map_row_groups(encode, "encoding", start.next_row_group):
            if number > row_group and progress.due():
                store.to_disk()
                counted = (n_found, n_documents, n_text_bytes, longest, length_classes.tolist())
                progress.save(Position(number, store.n_tokens, store.n_sentences, *counted))
            row_group = number
            sentences = encoded.sentences
            store.append(sentences.token_ids, sentences.sentence_offsets)
            lengths = np.diff(sentences.sentence_offsets)
            length_classes += np.bincount(np.log2(lengths).astype(np.int64), minlength=LENGTH_CLASSES)
            longest = max(longest, int(lengths.max(initial=0)))
            n_found += encoded.n_found
            n_documents += encoded.n_documents
            n_text_bytes += encoded.n_text_bytes
        if n_documents == 0 and keep is not None:
            raise VocabularyError(
                f"encode.documents_share {config.documents_share:g} leaves no document of the corpus"
                + (f", held-out ones ({config.validation_share:g}) apart" if config.validation_share else ""),
                expected="a share that some documents fall into",
                todo="raise encode.documents_share"
                + (
                    ", lower encode.validation_share, or cut the text into more documents (corpus.txt_unit)"
                    if config.validation_share
                    else ""
                ),
            )
        if store.n_tokens == 0:
            raise VocabularyError(
                f"none of the {n_found:,} words in {n_documents:,} documents is among the "
                f"vocabulary's {len(vocabulary):,}",
                expected="a vocabulary that was built from this corpus",
                todo="run the vocabulary stage again with --refresh vocabulary",
            )
    if folder is not None:
        for name in (TOKEN_IDS_NAME, SENTENCE_OFFSETS_NAME):
            shutil.move(folder / name, io.output / name)
    write_held_out(config, io.output)
    n_dropped = n_found - store.n_tokens
    return StageReport(
        metrics={
            "n_documents": n_documents,
            "n_sentences": store.n_sentences,
            "n_tokens": store.n_tokens,
            "n_tokens_dropped": n_dropped,
            "n_text_bytes_read": n_text_bytes,
            "oov_frac": n_dropped / n_found,
            "mean_sentence_tokens": store.n_tokens / store.n_sentences,
            "max_sentence_tokens": longest,
        },
        rows={TOKEN_IDS_NAME: store.n_tokens, SENTENCE_OFFSETS_NAME: store.n_sentences + 1},
        table=[
            {"sentence_tokens": _class_name(k), "n_sentences": int(n), "frac": round(int(n) / store.n_sentences, 6)}
            for k, n in enumerate(length_classes)
            if n
        ],
        markdown=(
            f"{store.n_tokens:,} tokens in {store.n_sentences:,} sentences; {n_dropped / n_found:.2%} of the words "
            f"found are outside the vocabulary and were dropped. How long the sentences are:"
        ),
    )


@dataclass(frozen=True)
class EncodedTexts:
    """Texts as sentences of word ids.

    Attributes
    ----------
    sentences : without words outside the vocabulary, and without sentences that this empties
    n_found : words found in the texts, those outside the vocabulary included
    n_documents : texts
    n_text_bytes : UTF-8 of the texts that had to be cut into words
    """

    sentences: Sentences
    n_found: int
    n_documents: int
    n_text_bytes: int


def _coded_text(io: StageIO) -> list[Path] | None:
    """Folders that hold the corpus as coded text, from counting; None where one of them is not there."""
    pieces = [ArtifactRef(**each) for each in io.lineage.get("vocabulary", {}).get("pieces", ())]
    refs = [ref for ref in pieces if ref.stage.endswith(f".{COUNT_KIND}")]
    if io.pieces is None or not refs:
        return None
    folders = [io.pieces.folder(ref, *CODED_NAMES) for ref in refs]
    return None if None in folders else [folder for folder in folders if folder is not None]


def _encoded(index: UnitIndex, texts: pa.Array | CodedBlock, unit: SentenceUnit, n_words: int) -> EncodedTexts:
    if isinstance(texts, CodedBlock) and not index.joins:
        sentences, n_found = texts.sentences(index.ids(texts.words), unit)
        return EncodedTexts(sentences, n_found, texts.n_wanted, 0)
    found, _ = index.find(texts)
    if len(index.units) > n_words:
        # Parts of phrases that are too rare to be words by themselves.
        targets = np.where(found.targets < n_words, found.targets, OUTSIDE).astype(np.int32)
        found = replace(found, targets=targets)
    if isinstance(texts, CodedBlock):
        return EncodedTexts(found.sentences(unit), len(found.codes), texts.n_wanted, 0)
    n_text_bytes = pc.sum(pc.binary_length(texts)).as_py() or 0
    return EncodedTexts(found.sentences(unit), len(found.codes), len(texts), n_text_bytes)


def _class_name(k: int) -> str:
    first, last = 1 << k, (1 << (k + 1)) - 1
    return str(first) if first == last else f"{first}–{last}"
