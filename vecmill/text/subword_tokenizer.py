"""Subword tokenizers, BPE and WordPiece, through the Hugging Face ``tokenizers`` library.

Byte pairs: Sennrich et al. 2016, over bytes as in GPT-2 (Radford et al. 2019). WordPiece: the training of the library,
by byte pairs as well, and BERT's longest-match segmentation (Devlin et al. 2019). Files are the library's own
``tokenizer.json``, which transformers reads too.

The library numbers WordPiece's inner pieces in an order that changes from run to run, and breaks ties by number. Here
they are numbered beforehand, so that the same texts give the same file.

Training holds each different word of the text in memory; for a corpus beyond that, train on a sample
(:class:`vecmill.vocabulary.reservoir.Reservoir`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from vecmill.errors import ConfigError, FormatError, VocabularyError
from vecmill.text.subword_config import CLS, PAD, SEP, UNK, SubwordTokenizerConfig

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_INNER = "##"
_BATCH_TEXTS = 1_000


@dataclass(frozen=True)
class Pieces:
    """Texts as pieces.

    Attributes
    ----------
    token_ids : int32[n_tokens];  text_offsets : int64[n_texts + 1]; text t is token_ids[offsets[t]:offsets[t + 1]]
    n_cut : texts that were longer than the limit
    """

    token_ids: npt.NDArray[np.int32]
    text_offsets: npt.NDArray[np.int64]
    n_cut: int = 0

    def padded(self, pad_id: int = 0, length: int | None = None) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_]]:
        """Texts as rows of equal length.

        Parameters
        ----------
        length : of a row; None for that of the longest text

        Returns
        -------
        token_ids : int32[n_texts, length], ``pad_id`` after each text's end
        mask : bool[n_texts, length], where a token stands

        Raises
        ------
        ValueError : a text is longer than ``length``
        """
        lengths = np.diff(self.text_offsets)
        longest = int(lengths.max(initial=0))
        if length is not None and length < longest:
            raise ValueError(f"a text has {longest} tokens, rows of {length} were asked for; encode with max_length")
        mask = np.arange(longest if length is None else length) < lengths[:, None]
        rows = np.full(mask.shape, pad_id, dtype=np.int32)
        rows[mask] = self.token_ids
        return rows, mask


class SubwordTokenizer:
    """Text to pieces and back. Made by :meth:`train` or :meth:`load`."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer

    def __len__(self) -> int:
        return int(self._tokenizer.get_vocab_size())

    @classmethod
    def train(cls, texts: Callable[[], Iterable[str]], config: SubwordTokenizerConfig) -> SubwordTokenizer:
        """Learn pieces from texts.

        Parameters
        ----------
        texts : gives the texts, from the beginning each time it is called; wordpiece reads them twice

        Raises
        ------
        VocabularyError : there is no text
        ConfigError : the library is not installed, or ``size`` has no room for the alphabet
        """
        library = _library()
        n_texts = 0

        def batches() -> Iterator[list[str]]:
            nonlocal n_texts
            batch: list[str] = []
            for text in texts():
                n_texts += 1
                batch.append(text)
                if len(batch) == _BATCH_TEXTS:
                    yield batch
                    batch = []
            yield batch

        if config.kind == "bpe":
            tokenizer = _byte_pairs(library, config)
            alphabet = sorted(library.pre_tokenizers.ByteLevel.alphabet())
            _refuse_small(config, len(config.special_tokens) + len(alphabet))
            trainer = library.trainers.BpeTrainer(
                vocab_size=config.size,
                min_frequency=config.min_count,
                special_tokens=config.special_tokens,
                initial_alphabet=alphabet,
                show_progress=False,
            )
            tokenizer.train_from_iterator(batches(), trainer)
        else:
            tokenizer = _word_pieces(library, config, {})
            characters = _characters(texts(), tokenizer.normalizer, config.alphabet_size)
            inner = [_INNER + character for character in characters]
            _refuse_small(config, len(config.special_tokens) + 2 * len(characters))
            trainer = library.trainers.WordPieceTrainer(
                vocab_size=config.size,
                min_frequency=config.min_count,
                special_tokens=[*config.special_tokens, *inner],
                initial_alphabet=characters,
                limit_alphabet=len(characters),
                show_progress=False,
            )
            tokenizer.train_from_iterator(batches(), trainer)
            # Made anew, since to this one the inner characters are special.
            tokenizer = _word_pieces(library, config, tokenizer.get_vocab())
            tokenizer.add_special_tokens(config.special_tokens)
        if n_texts == 0:
            raise VocabularyError("there is no text to train a tokenizer on", expected="at least one document")
        ends = [(name, tokenizer.token_to_id(name)) for name in (CLS, SEP)]
        tokenizer.post_processor = library.processors.TemplateProcessing(
            single=f"{CLS} $A {SEP}", pair=f"{CLS} $A {SEP} $B {SEP}", special_tokens=ends
        )
        return cls(tokenizer)

    def encode(self, texts: Sequence[str], *, max_length: int | None = None, ends: bool = True) -> Pieces:
        """Texts as pieces, each between [CLS] and [SEP].

        Parameters
        ----------
        max_length : tokens of a text at most, [CLS] and [SEP] included; what is beyond is cut off. None for no limit
        ends : whether [CLS] and [SEP] are added
        """
        n_ends = 2 if ends else 0
        if max_length is not None and max_length <= n_ends:
            raise ValueError(f"max_length {max_length} leaves no room beside [CLS] and [SEP]")
        first, last = (self.id_of(name) for name in (CLS, SEP))
        rows = []
        n_cut = 0
        for start in range(0, len(texts), _BATCH_TEXTS):
            batch = list(texts[start : start + _BATCH_TEXTS])
            for encoding in self._tokenizer.encode_batch_fast(batch, add_special_tokens=False):
                found = encoding.ids
                if max_length is not None and len(found) > max_length - n_ends:
                    found = found[: max_length - n_ends]
                    n_cut += 1
                rows.append(np.array([first, *found, last] if ends else found, dtype=np.int32))
        offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        return Pieces(np.concatenate([np.zeros(0, dtype=np.int32), *rows]), offsets, n_cut)

    def pieces(self, token_ids: Iterable[int]) -> list[str]:
        """What the pieces are called; byte pairs write a blank as Ġ and other bytes as letters."""
        return [str(self._tokenizer.id_to_token(int(token_id))) for token_id in token_ids]

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of pieces, special tokens left out.

        Raises
        ------
        ValueError : an id that is no piece's
        """
        ids = [int(token_id) for token_id in token_ids]
        for token_id in ids:
            if not 0 <= token_id < len(self):
                raise ValueError(f"token id {token_id} is outside the tokenizer's {len(self):,} pieces")
        return str(self._tokenizer.decode(ids, skip_special_tokens=True))

    def id_of(self, piece: str) -> int:
        """Number of a piece, such as ``[PAD]``.

        Raises
        ------
        KeyError : there is no such piece
        """
        found = self._tokenizer.token_to_id(piece)
        if found is None:
            raise KeyError(piece)
        return int(found)

    def save(self, path: Path) -> None:
        """Write one JSON file in the format of the library: the same bytes for the same tokenizer."""
        path.write_text(self._tokenizer.to_str(pretty=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> SubwordTokenizer:
        """Read what :meth:`save` wrote, or another ``tokenizer.json`` with the same special tokens.

        Raises
        ------
        FormatError : the file is missing or is none
        ConfigError : the library is not installed
        """
        library = _library()
        try:
            tokenizer = library.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise _not_a_tokenizer(path, "there is no such file") from error
        except OSError as error:
            raise _not_a_tokenizer(path, str(error)) from error
        except Exception as error:  # the library raises nothing narrower
            raise _not_a_tokenizer(path, str(error)) from error
        missing = [name for name in (PAD, UNK, CLS, SEP) if tokenizer.token_to_id(name) is None]
        if missing:
            raise _not_a_tokenizer(path, f"it has no {' and no '.join(missing)}")
        return cls(tokenizer)


def _library() -> Any:
    try:
        import tokenizers
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.normalizers
        import tokenizers.pre_tokenizers
        import tokenizers.processors
        import tokenizers.trainers
    except ImportError as error:
        raise ConfigError(
            "subword tokenizers need the library tokenizers, which is not installed",
            todo="pip install 'vecmill[encoders]', or tokenizers alone",
        ) from error
    return tokenizers


def _byte_pairs(library: Any, config: SubwordTokenizerConfig) -> Tokenizer:
    tokenizer: Tokenizer = library.Tokenizer(library.models.BPE())
    if config.lowercase:
        tokenizer.normalizer = library.normalizers.Lowercase()
    tokenizer.pre_tokenizer = library.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = library.decoders.ByteLevel()
    return tokenizer


def _word_pieces(library: Any, config: SubwordTokenizerConfig, vocabulary: dict[str, int]) -> Tokenizer:
    model = library.models.WordPiece(vocabulary, unk_token=UNK, max_input_chars_per_word=100)
    tokenizer: Tokenizer = library.Tokenizer(model)
    tokenizer.normalizer = library.normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=False, lowercase=config.lowercase
    )
    tokenizer.pre_tokenizer = library.pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = library.decoders.WordPiece(prefix=_INNER)
    return tokenizer


def _characters(texts: Iterable[str], normalizer: Any, most: int) -> list[str]:
    """The ``most`` commonest characters as the normalizer leaves them, in code point order; blanks are none."""
    raw: Counter[str] = Counter()
    for text in texts:
        raw.update(text)
    counts: Counter[str] = Counter()
    for character, count in raw.items():
        for each in set(normalizer.normalize_str(character)):
            counts[each] += count
    kept = sorted((each for each in counts if not each.isspace()), key=lambda each: (-counts[each], each))
    return sorted(kept[:most])


def _refuse_small(config: SubwordTokenizerConfig, least: int) -> None:
    if config.size < least:
        raise ConfigError(
            f"size {config.size:,} has no room for the special tokens and the alphabet, which take {least:,}",
            expected="room for pieces of several characters besides",
            todo=f"set size to {2 * least:,} or more"
            + (", or alphabet_size to less" if config.kind == "wordpiece" else ""),
        )


def _not_a_tokenizer(path: Path, why: str) -> FormatError:
    return FormatError(
        f"{path} is not a tokenizer: {why}",
        expected="a tokenizer.json as `vecmill tokenizer train` writes it",
        todo="train one, or name another file",
    )
