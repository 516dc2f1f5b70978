"""The token rules as tables by code point, for the compiled tokenizer."""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import numpy.typing as npt

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
    lower = np.arange(256, dtype=np.uint8)
    if rules.lowercase or rules.casefold:
        lower[ord("A") : ord("Z") + 1] += ord("a") - ord("A")
    classes.flags.writeable = lower.flags.writeable = False
    return Automaton(
        classes,
        lower,
        joins_once=rules.pattern == "ascii",
        keeps_marks=rules.pattern == "whitespace",
        folds=rules.lowercase or rules.casefold or rules.pattern == "unicode",
    )


def _add(classes: npt.NDArray[np.uint16], inside: str, kind: int) -> None:
    classes[[ord(character) for character in re.findall(f"[{inside}]", _BASIC_PLANE)]] |= kind
