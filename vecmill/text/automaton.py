"""The token rules as tables by code point, for the compiled tokenizer."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import numpy.typing as npt

from vecmill.kernels.byte_bits import LEAVES, LOWERS
from vecmill.kernels.tokens import (
    AFTER_JOINER,
    CLOSER,
    END,
    END_WITHOUT_SPACE,
    JOINER,
    LINE_END,
    LONE,
    MARK,
    RUN,
    SPACE,
    Automaton,
)
from vecmill.text.rules import JOINERS, TokenRules
from vecmill.text.sentences import CLOSERS, END_MARKS, END_MARKS_WITHOUT_SPACE, LINE_ENDS, SPACES
from vecmill.text.word_characters import LONE_CHARACTERS, MARKS, RUN_CHARACTERS

_N_CODE_POINTS = 0x110000

# The marks, spaces and joiners of our patterns all lie in the basic plane, so that this finds every one of them.
_BASIC_PLANE = "".join(map(chr, (*range(0xD800), *range(0xE000, 0x10000))))


@cache
def automaton_of(rules: TokenRules) -> Automaton:
    """The tables for token rules; shared, read only."""
    classes = np.zeros(_N_CODE_POINTS, dtype=np.uint16)
    for inside, kind in (
        (END_MARKS, END),
        (END_MARKS_WITHOUT_SPACE, END_WITHOUT_SPACE),
        (CLOSERS, CLOSER),
        (SPACES, SPACE),
        (LINE_ENDS, LINE_END),
    ):
        _add(classes, inside, kind)
    if rules.pattern == "unicode":
        for table, kind in ((RUN_CHARACTERS, RUN | AFTER_JOINER), (MARKS, MARK), (LONE_CHARACTERS, LONE)):
            for entry in table.split():
                span = [int(code, 16) for code in entry.split("-")]
                classes[span[0] : span[-1] + 1] |= kind
        _add(classes, JOINERS, JOINER)
    elif rules.pattern == "ascii":
        _add(classes, "A-Za-z0-9", RUN)
        _add(classes, "A-Za-z", AFTER_JOINER)
        _add(classes, "'", JOINER)
    else:
        classes[(classes & SPACE) == 0] |= RUN
    lowers = rules.lowercase or rules.casefold
    lower = np.arange(256, dtype=np.uint8)
    if lowers:
        lower[ord("A") : ord("Z") + 1] += ord("a") - ord("A")
    ascii_kinds = classes[:128]
    is_run = (ascii_kinds & RUN) != 0
    is_special = np.ones(256, dtype=np.bool_)
    is_special[:128] = ~is_run & ((ascii_kinds & (LONE | MARK | JOINER)) != 0)
    ends = ~is_run & ((ascii_kinds & (END | END_WITHOUT_SPACE | LINE_END)) != 0)
    classes.flags.writeable = lower.flags.writeable = False
    return Automaton(
        classes,
        lower,
        joins_once=rules.pattern == "ascii",
        keeps_marks=rules.pattern == "whitespace",
        folds=lowers or rules.pattern == "unicode",
        letters=LOWERS if lowers else LEAVES,
        run_spans=_spans(is_run),
        special_spans=_spans(is_special),
        end_spans=_spans(ends),
    )


def _spans(is_member: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """First byte and length of each run of members; none has more than 255 bytes."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], is_member, [False]]).astype(np.int8)))
    return np.stack([edges[::2], edges[1::2] - edges[::2]], axis=1).astype(np.int64)


def _add(classes: npt.NDArray[np.uint16], inside: str, kind: int) -> None:
    classes[[ord(character) for character in re.findall(f"[{inside}]", _BASIC_PLANE)]] |= kind
