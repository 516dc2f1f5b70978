r"""The cleaning steps over a column of texts: what :func:`vecmill.text.cleaning.clean` gives, many texts at a time.

Most steps change few texts. Regular expressions in Rust find those that a step might change (the *signs* of the step;
text without them comes out of the step as it went in), and only they go through it. Tags and white space, which most
texts of the web have, are dealt with in Rust as well, where text is plain enough for that to be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

from vecmill.text.cleaning import BLOCKS, FORMATTING, MAX_ROUNDS, STEPS, CleaningStep

# What str.isspace knows, newline aside.
_BLANK = r"\t\x0B-\r\x1C-\x1F \x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}"

# Characters that nfc neither drops nor changes, whatever stands beside them; a selection, so that the pattern is small.
# Other text goes through the step.
SAFE_IN_NFC = (
    "9-A 20-7E A0-AC AE-2FF 3A3-482 48A-52F 5D0-5EA 61B-64A 671-6D3 904-939 E01-E37 10D0-10FF 1780-17B3 1E00-1EFF "
    "2010-2027 2030-205E 20A0-20BF 2190-2328 3000-3029 3041-3096 309B-30FF 3105-312F 4E00-9FFF AC00-D7A3 FF01-FFBE"
)

_LETTERS = "A-Za-z0-9_" + "".join(f"\\x{{{a:X}}}-\\x{{{b:X}}}" for a, b in ((0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x2C1)))
_LETTERS += (
    r"\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{5D0}-\x{5EA}\x{620}-\x{64A}\x{904}-\x{939}\x{E01}-\x{E30}\x{3041}-\x{3096}"
)
_LETTERS += r"\x{30A1}-\x{30FA}\x{4E00}-\x{9FFF}\x{AC00}-\x{D7A3}"

_LINE_BEGINS = (
    r"(?:[ \t*#:;!=]|-{4}|Category:|File:|Image:|Template:|Wikipedia:|MediaWiki:|REDIRECT|"
    # A line of none of these letters may be one without a word.
    rf"[a-z]{{2,3}}(?:-[a-z]{{2,10}})?:|[^{_LETTERS}\n]+(?:\n|\z))"
)
_CONTROLS = (*(rf"[\x{first:02X}-\x{first + 7:02X}]" for first in (0x0, 0x0B, 0x13, 0x18)), r"[\x08\x7F]")

_WIKI_MARKS = (
    r"''|\[\[|\]\]|\{\{|\}\}|__[A-Z]",
    r"\|",
    r"\([ \t,;]*\)",
    rf"\A{_LINE_BEGINS}",
    rf"\n{_LINE_BEGINS}",
)

# A text in which none of the patterns is found comes out of the step unchanged. They are several and small: each begins
# with one of a few literals (at most eight bytes in a class) or is anchored, and is then found by comparing 16 or 32
# bytes at a time. A single expression would walk from byte to byte, which takes twenty times as long. A step without
# signs sees every text.
SIGNS: dict[CleaningStep, tuple[str, ...]] = {
    "nfc": _CONTROLS,
    "html": ("[<&]",),
    "wiki": (
        *_WIKI_MARKS,
        r" \n|\t\n|=\n",
        r"[ \t=]\z",
    ),
    "urls": (r"://|[wW][wW][wW]\.",),
    "emails": ("@",),
    "whitespace": (r"  | \n|\n |\n\n\n", r"[\t\x0B-\r\x1C-\x1F]", r"\A[ \n]", r"[ \n]\z"),
}
# The same for texts with characters beyond ASCII, of which the others have none.
WIDE_SIGNS: dict[CleaningStep, str] = {
    "nfc": "[^" + "".join(r"\x{" + span.replace("-", r"}-\x{") + "}" for span in SAFE_IN_NFC.split()) + "]",
    "whitespace": r"[\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]",
}

_OPENS_UNREADABLE = r"&|<!--|(?i-u)<script|<style"


def _tags(names: frozenset[str]) -> str:
    return rf"</?(?i-u:{'|'.join(sorted(names))})(?:[^<>A-Za-z0-9:\-][^<>]*)?>"


_LINE_BREAK = "(?i-u:<br ?/?>)"
# Longest names first would change nothing: what follows a name is no letter of a name.
_BLOCK_TAG, _FORMATTING_TAG = _tags(BLOCKS), _tags(FORMATTING)
_OTHER_TAG = "<(?:/?[A-Za-z]|[!?])[^<>]*>"


def clean_column(texts: pl.Series, steps: Sequence[CleaningStep]) -> pl.Series:
    """``[clean(text, steps) for text in texts]``, in a fraction of the time.

    Parameters
    ----------
    texts : String[n] without nulls; memory is a few times theirs
    steps : names of cleaning steps, in their order
    """
    flags = _signs(texts, tuple(steps))
    rows = np.flatnonzero(flags.any(axis=1))
    current, flags = texts.gather(rows).to_list(), flags[rows]
    done: dict[int, str] = {}
    for _ in range(MAX_ROUNDS):
        if not current:
            break
        before = current.copy()
        for column, step in enumerate(steps):
            found = np.flatnonzero(flags[:, column]).tolist()
            if not found:
                continue
            cleaned = _apply([current[row] for row in found], step)
            changed = [(row, text) for row, text in zip(found, cleaned, strict=True) if text != current[row]]
            if changed:
                for row, text in changed:
                    current[row] = text
                flags[[row for row, _ in changed]] = _signs(_series([text for _, text in changed]), tuple(steps))
        bears_sign: list[bool] = np.any(flags, axis=1).tolist()
        again = []
        for number, (row, text) in enumerate(zip(rows.tolist(), current, strict=True)):
            # What a round left as it was stays so, and what bears no sign as well.
            if text != before[number]:
                done[row] = text
                if bears_sign[number]:
                    again.append(number)
        rows, flags, current = rows[again], flags[again], [current[number] for number in again]
    return _with(texts, list(done), list(done.values())) if done else texts


def is_blank(text: pl.Expr) -> pl.Expr:
    """Whether there is nothing in a text but what ``str.isspace`` knows."""
    return text.str.contains(rf"\A[{_BLANK}\n]*\z")


def _with(texts: pl.Series, places: list[int], others: list[str]) -> pl.Series:
    """A column with other texts in some places."""
    order = np.arange(len(texts), dtype=np.uint32)
    order[places] = np.arange(len(texts), len(texts) + len(places), dtype=np.uint32)
    return pl.concat([texts, _series(others)], rechunk=False).gather(order)


def _series(texts: Sequence[str]) -> pl.Series:
    return pl.Series("text", texts, dtype=pl.String)


@cache
def _expressions(steps: tuple[CleaningStep, ...]) -> tuple[list[pl.Expr], dict[CleaningStep, slice], list[pl.Expr]]:
    """Whether a text goes beyond ASCII, and whether each pattern is found; the patterns of each step; wide signs."""
    text = pl.col("text").str
    expressions = [(text.len_bytes() != text.len_chars()).alias("wide")]
    places: dict[CleaningStep, slice] = {}
    for step in dict.fromkeys(steps):
        first = len(expressions)
        expressions += [
            text.contains(sign).alias(f"{step} {number}") for number, sign in enumerate(SIGNS.get(step, ()))
        ]
        places[step] = slice(first, len(expressions))
    return expressions, places, [text.contains(sign).alias(step) for step, sign in WIDE_SIGNS.items() if step in steps]


def _signs(column: pl.Series, steps: tuple[CleaningStep, ...]) -> npt.NDArray[np.bool_]:
    """Whether a step might change a text, bool[n_texts, n_steps]; False is certain."""
    expressions, places, wide_expressions = _expressions(steps)
    frame = column.to_frame("text")
    # All expressions in one call: most of the time of a single small one is spent around it.
    found = frame.select_seq(expressions).to_numpy()
    flags = np.ones((len(column), len(steps)), np.bool_)
    for number, step in enumerate(steps):
        if step in SIGNS:
            flags[:, number] = np.any(found[:, places[step]], axis=1)
    wide = np.flatnonzero(found[:, 0])
    if len(wide) and wide_expressions:
        more = frame[wide].select_seq(wide_expressions)
        for number, step in enumerate(steps):
            if step in WIDE_SIGNS:
                flags[wide, number] |= more[step].to_numpy()
    return flags


def _apply(texts: list[str], step: CleaningStep) -> list[str]:
    in_rust = _IN_RUST.get(step)
    return _map(texts, step) if in_rust is None else in_rust(texts)


def _map(texts: list[str], step: CleaningStep) -> list[str]:
    function = STEPS[step]
    return [function(text) for text in texts]


def _changed(texts: list[str], *expressions: pl.Expr) -> list[pl.Series]:
    """What expressions of a column ``text`` give, all in one call (see :func:`_signs`); no thread but this one works.

    Each call lets go of the interpreter's lock, and may wait for it afterwards while another thread reads.
    """
    named = [expression.alias(str(number)) for number, expression in enumerate(expressions)]
    return _series(texts).to_frame("text").select_seq(named).get_columns()


def _whitespace(texts: list[str]) -> list[str]:
    """The step ``whitespace``: the same expressions, white space spelled out."""
    text = pl.col("text").str.replace_all(f"[{_BLANK}]+", " ").str.replace_all(" ?\n ?", "\n")
    return _changed(texts, text.str.replace_all("\n{3,}", "\n\n").str.strip_chars(" \n"))[0].to_list()


def _html(texts: list[str]) -> list[str]:
    """The step ``html``, in Rust for texts in which every ``<`` opens a whole tag.

    There no tag has another inside, and none is left over for a second round, so that it does not matter that the kinds
    of tags are replaced one kind after the other. Most texts of the web have line breaks alone.
    """
    cleaned = _series(texts).str.replace_all(_LINE_BREAK, "\n").to_list()
    more = [number for number, text in enumerate(cleaned) if "<" in text or "&" in text]
    return _replaced(cleaned, more, _html_tags([texts[number] for number in more])) if more else cleaned


def _html_tags(texts: list[str]) -> list[str]:
    text = pl.col("text").str
    without = text.replace_all(_BLOCK_TAG, "\n").str.replace_all(_FORMATTING_TAG, "").str.replace_all(_OTHER_TAG, " ")
    cleaned, unreadable = _changed(texts, without, text.contains(_OPENS_UNREADABLE))
    odd = (unreadable | cleaned.str.contains("<", literal=True)).arg_true().to_list()
    return _replaced(cleaned.to_list(), odd, _map([texts[number] for number in odd], "html"))


def _wiki(texts: list[str]) -> list[str]:
    """The step ``wiki``, in Rust for texts in which all there is to do is to strip ends of lines."""
    text = pl.col("text").str
    stripped, bears_marks = _changed(
        texts,
        text.replace_all("[ \t=]+\n", "\n").str.strip_chars_end(" \t="),
        pl.any_horizontal([text.contains(sign) for sign in _WIKI_MARKS]),
    )
    more = bears_marks.arg_true().to_list()
    return _replaced(stripped.to_list(), more, _map([texts[number] for number in more], "wiki"))


_IN_RUST: dict[CleaningStep, Callable[[list[str]], list[str]]] = {
    "html": _html,
    "wiki": _wiki,
    "whitespace": _whitespace,
}


def _replaced(texts: list[str], places: list[int], others: list[str]) -> list[str]:
    """The list itself, with other texts in some places."""
    for place, other in zip(places, others, strict=True):
        texts[place] = other
    return texts
