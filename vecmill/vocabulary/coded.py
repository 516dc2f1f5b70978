"""Tokenised text as files: what counting has cut into words once, for every later pass over the same documents.

A block is a row group of the corpus. Its words are numbered by themselves, so that it stays as it is whatever
vocabulary comes about; to encode it means to look up its words, some ten thousand, and to read its numbers by them.

| file | holds |
| --- | --- |
| ``coded_text.bin`` | the blocks one after another, in the symbols of :mod:`vecmill.kernels.coded_text` |
| ``coded_words.arrow`` | the words of each block, a batch each, in the order of their numbers |
| ``coded_blocks.npy`` | int64[n_blocks, 3]: bytes of coded text, tokens and documents of each block |
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from vecmill.kernels.coded_text import (
    FIRST_LONG,
    SHORT_SYMBOLS,
    TOKEN_SYMBOLS,
    tally_and_pack,
    unpack_sentences,
    unpack_tokens,
)
from vecmill.progress import track
from vecmill.text.arrow_columns import number_column, numbers_of
from vecmill.text.sentences import SentenceUnit
from vecmill.text.word_index import LEAST_BREAK, FoundTokens, Reading, Sentences
from vecmill.vocabulary.counting import CountingTable
from vecmill.vocabulary.token_batches import available_cores, cut_batch

TEXT_NAME, WORDS_NAME, BLOCKS_NAME = CODED_NAMES = ("coded_text.bin", "coded_words.arrow", "coded_blocks.npy")

_WORDS_SCHEMA = pa.schema([("word", pa.string())])
_OPTIONS = pa.ipc.IpcWriteOptions(compression="zstd")

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class CodedBlock:
    """The texts of a row group.

    Attributes
    ----------
    packed : uint16[n_symbols]
    words : string[n_words], different ones, in the order of their numbers
    n_tokens, n_texts : how many there are
    keeps : bool[n_texts], the texts that are wanted; None for all
    """

    packed: npt.NDArray[np.uint16]
    words: pa.Array
    n_tokens: int
    n_texts: int
    keeps: npt.NDArray[np.bool_] | None = None

    @property
    def n_wanted(self) -> int:
        """Texts that are wanted."""
        return self.n_texts if self.keeps is None else int(self.keeps.sum())

    def found(self, units: npt.NDArray[np.int32]) -> FoundTokens:
        """The words of the texts that are wanted; the others have none.

        Parameters
        ----------
        units : int32[n_words], what stands for each word; OUTSIDE for those that nothing stands for
        """
        codes = np.empty(self.n_tokens, dtype=np.int32)
        breaks = np.empty(self.n_tokens, dtype=np.uint8)
        text_offsets = np.zeros(self.n_texts + 1, dtype=np.int64)
        keeps = np.ones(self.n_texts, dtype=np.bool_) if self.keeps is None else self.keeps
        n = unpack_tokens(self.packed, units, keeps, codes, breaks, text_offsets)
        every = np.arange(int(units.max(initial=-1)) + 1, dtype=np.int32)
        return FoundTokens(codes[:n], breaks[:n], text_offsets, every)

    def sentences(self, units: npt.NDArray[np.int32], unit: SentenceUnit) -> tuple[Sentences, int]:
        """What :meth:`found` gives as sentences of the given unit, and how many words it gives."""
        token_ids = np.empty(self.n_tokens + 1, dtype=np.int32)
        offsets = np.empty(self.n_tokens + 1, dtype=np.int64)
        keeps = np.ones(self.n_texts, dtype=np.bool_) if self.keeps is None else self.keeps
        counted = unpack_sentences(self.packed, units, keeps, LEAST_BREAK[unit], token_ids, offsets)
        n_found, n_tokens, n_sentences = counted
        return Sentences(token_ids[:n_tokens], offsets[: n_sentences + 1].copy()), n_found


class CodingTable(CountingTable):
    """A counting table that also codes the texts that it counts; used by one thread at a time.

    A full table is written between two row groups, not between two texts: the numbers of a block's words are those
    of the table while it is being coded.
    """

    _numbers: npt.NDArray[np.int32] = np.empty(0, dtype=np.int32)
    _entries: npt.NDArray[np.int32] = _numbers
    _room: npt.NDArray[np.uint16] = np.empty(0, dtype=np.uint16)

    def code(self, documents: pa.RecordBatch) -> CodedBlock:
        """Add the words of a row group, and code it."""
        packed = [np.empty(0, dtype=np.uint16)]
        n_words = n_tokens = 0
        for batch in cut_batch(documents):
            reading = Reading(self._index, batch.column("text"))
            reading.go_on()
            found = reading.found()
            n_tokens += len(found.codes)
            if len(self._numbers) < len(found.targets):
                more = np.full(len(found.targets) - len(self._numbers), -1, dtype=np.int32)
                self._numbers = np.concatenate([self._numbers, more])
                self._entries = np.concatenate([self._entries, more])
            n_symbols = 0
            room = self._room_for(found, n_words)
            for start, stop, first_document, tallies in self._tallies.spans(found):
                more_symbols, n_words = tally_and_pack(
                    found.codes,
                    found.breaks,
                    found.text_offsets[start : stop + 1],
                    found.targets,
                    tallies,
                    first_document,
                    self._numbers,
                    self._entries,
                    n_words,
                    room[n_symbols:],
                )
                n_symbols += more_symbols
            packed.append(room[:n_symbols].copy())
        entries = self._entries[:n_words]
        words = self._index.words().take(number_column(entries)).cast(pa.string())
        self._numbers[entries] = -1
        self.write_if_full()
        return CodedBlock(np.concatenate(packed), words, n_tokens, documents.num_rows)

    def _room_for(self, found: FoundTokens, n_words: int) -> npt.NDArray[np.uint16]:
        """Where the symbols of some texts go, kept from batch to batch."""
        n_tokens = len(found.codes)
        each = SHORT_SYMBOLS if n_words + n_tokens < FIRST_LONG else TOKEN_SYMBOLS
        # One more, since a break is written before it is looked at.
        n_symbols = each * n_tokens + len(found.text_offsets) + 1
        if len(self._room) < n_symbols:
            self._room = np.empty(n_symbols, dtype=np.uint16)
        return self._room


class CodedWriter:
    """Writes blocks into a folder, in their order. A context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sizes: list[tuple[int, int, int]] = []

    def __enter__(self) -> Self:
        self._text = (self._folder / TEXT_NAME).open("wb")
        self._sink = pa.OSFile(str(self._folder / WORDS_NAME), "wb")
        self._words = pa.ipc.new_file(self._sink, _WORDS_SCHEMA, options=_OPTIONS)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._text.close()
        self._words.close()
        self._sink.close()
        if kind is None:
            np.save(self._folder / BLOCKS_NAME, np.array(self._sizes, dtype="<i8").reshape(-1, 3))

    def append(self, block: CodedBlock) -> None:
        """Append a block."""
        self._text.write(block.packed.astype("<u2", copy=False).data)
        self._words.write_batch(pa.record_batch([block.words], schema=_WORDS_SCHEMA))
        self._sizes.append((block.packed.nbytes, block.n_tokens, block.n_texts))


def read_blocks(folders: Iterable[Path], first: int = 0) -> Iterator[CodedBlock]:
    """The blocks of some folders in their order, without the ``first`` of them."""
    for folder in folders:
        sizes = np.load(folder / BLOCKS_NAME, allow_pickle=False)
        skipped = min(first, len(sizes))
        first -= skipped
        if skipped == len(sizes):
            continue
        with (folder / TEXT_NAME).open("rb") as text, pa.OSFile(str(folder / WORDS_NAME)) as source:
            words = pa.ipc.open_file(source)
            text.seek(int(sizes[:skipped, 0].sum()))
            for number in range(skipped, len(sizes)):
                n_bytes, n_tokens, n_texts = (int(each) for each in sizes[number])
                packed = np.frombuffer(text.read(n_bytes), dtype="<u2")
                yield CodedBlock(packed, words.get_batch(number).column("word"), n_tokens, n_texts)


@dataclass(frozen=True)
class CodedCorpus:
    """The documents of a corpus as coded text; takes the place of :class:`vecmill.vocabulary.passes.Corpus`.

    Attributes
    ----------
    folders : that hold the blocks, in the order of the corpus
    threads : that work on it, 0 for one a core
    keep : takes documents out of a batch with a column ``doc_id``, None keeps all
    names : gives the row groups from one on, with the column ``doc_id`` of the documents in the blocks; for ``keep``
    """

    folders: Sequence[Path]
    threads: int
    keep: Callable[[pa.RecordBatch], pa.RecordBatch] | None = None
    names: Callable[[int], Iterator[tuple[int, pa.RecordBatch]]] | None = None

    def map(self, work: Callable[[CodedBlock], Result], description: str) -> Iterator[tuple[CodedBlock, Result]]:
        """Apply ``work`` to each block in threads; results come in corpus order."""
        for _, block, result in self.map_row_groups(work, description):
            yield block, result

    def map_row_groups(
        self, work: Callable[[CodedBlock], Result], description: str, first: int = 0
    ) -> Iterator[tuple[int, CodedBlock, Result]]:
        """Do what :meth:`map` does from row group ``first`` on, with the number of each block's row group."""
        blocks = read_blocks(self.folders, first)
        with track(description, unit="documents") as bar:
            wanted = blocks
            if self.keep is not None and self.names is not None:
                wanted = _kept(blocks, first, self.keep, self.names(first))
            for number, (block, result) in enumerate(in_order(work, wanted, self.threads), first):
                yield number, block, result
                bar.advance(block.n_texts)


def _kept(
    blocks: Iterator[CodedBlock],
    first: int,
    keep: Callable[[pa.RecordBatch], pa.RecordBatch],
    names: Iterator[tuple[int, pa.RecordBatch]],
) -> Iterator[CodedBlock]:
    """Blocks with their documents chosen; row groups of which nothing is left have no names."""
    ahead = next(names, None)
    for number, block in enumerate(blocks, first):
        keeps = np.zeros(block.n_texts, dtype=np.bool_)
        start = 0
        while ahead is not None and ahead[0] == number:
            batch = ahead[1]
            rows = number_column(np.arange(start, start + batch.num_rows))
            chosen = keep(pa.record_batch([batch.column("doc_id"), rows], ["doc_id", "row"]))
            keeps[numbers_of(chosen.column("row"))] = True
            start += batch.num_rows
            ahead = next(names, None)
        yield replace(block, keeps=keeps)


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[tuple[Item, Result]]:
    """Apply ``work`` to items in threads (0: one a core), with as many and one more in flight; results in order."""
    n_threads = threads or available_cores()
    waiting: deque[tuple[Item, Future[Result]]] = deque()
    with ThreadPoolExecutor(n_threads, thread_name_prefix="tokens") as pool:
        try:
            for item in items:
                waiting.append((item, pool.submit(work, item)))
                if len(waiting) > n_threads:
                    done, result = waiting.popleft()
                    yield done, result.result()
            while waiting:
                done, result = waiting.popleft()
                yield done, result.result()
        finally:
            for _, result in waiting:
                result.cancel()
