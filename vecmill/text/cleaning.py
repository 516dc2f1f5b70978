"""Named cleaning steps: pure functions from text to text, chosen and ordered in the configuration.

Every step is idempotent: cleaning clean text changes nothing, so text that has been through a step once (an earlier
run, another tool, a served request) meets the same treatment as raw text. Line breaks and sentence punctuation
survive every step, because sentences are split by them later.

All patterns run in time linear in the text: they meet text from strangers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Sequence
from html import unescape
from html.entities import html5
from typing import Literal

from vecmill.text.contractions import contractions

CleaningStep = Literal["nfc", "html", "wiki", "urls", "emails", "contractions", "numbers", "whitespace"]

# Markup may be nested in itself ("&amp;lt;") and one step may uncover work for another, so steps and pipelines repeat
# until nothing changes. Honest text needs two or three rounds; the limit is for text made to need thousands.
MAX_ROUNDS = 8


def _until_stable(text: str, once: Callable[[str], str], signs: str) -> str:
    """Apply ``once`` until nothing changes; text that never settles loses all ``signs`` that its markup is made of."""
    for _ in range(MAX_ROUNDS):
        before, text = text, once(text)
        if text == before:
            return text
    return once(text.translate({ord(sign): " " for sign in signs}))


def nfc(text: str) -> str:
    r"""Compose characters (Unicode NFC), unify line breaks, drop control and invisible characters.

    Dropped are the control characters but tab and newline, soft hyphen, zero-width space, word joiner and byte order
    mark. Zero-width joiners stay: some scripts spell with them.

    >>> nfc("cafe\u0301\r\nzero\u200bwidth\x07")
    'café\nzerowidth'
    """
    # Characters go first: one between a letter and its accent would hide them from composition.
    if _INVISIBLE.search(text):
        text = _INVISIBLE.sub(_visible, text.replace("\r\n", "\n"))
    return unicodedata.normalize("NFC", text)


_INVISIBLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u200b\u2028\u2029\u2060\ufeff]")
_BREAKS = {"\x0b": "\n", "\x0c": "\n", "\x0d": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n\n"}


def _visible(found: re.Match[str]) -> str:
    return _BREAKS.get(found[0], "")


def html(text: str) -> str:
    r"""Replace HTML tags and entities by what a reader would see; drop comments, scripts and styles.

    Block tags become a line break, tags that only format (``<b>``) vanish, all others become a blank. Entities are
    decoded only with their semicolon, so that "AT&T" and the query part of an address stay as they are. Regular
    expressions rather than ``html.parser``: that parser takes quadratic time on some malformed input, and
    plain text with a lone "<" is the common case here.

    >>> html("<p>Fish &amp; <b>chip</b>s<br/>5 < 6</p><script>x()</script>")
    '\nFish & chips\n5 < 6\n '
    """
    return _until_stable(text, _html_once, "<&")


def _html_once(text: str) -> str:
    if "<" not in text and "&" not in text:
        return text
    for opening, closing in _UNREADABLE:
        text = _cut(text, opening, closing)
    text = _TAG.sub(_tag_gap, text)
    return _ENTITY.sub(_decoded, _AMPERSANDS.sub("&", text))


_UNREADABLE = (
    (re.compile(r"<!--"), re.compile(r"-->")),
    (re.compile(r"<script(?=[\s>/])[^<>]*+>", re.IGNORECASE), re.compile(r"</script\s*>", re.IGNORECASE)),
    (re.compile(r"<style(?=[\s>/])[^<>]*+>", re.IGNORECASE), re.compile(r"</style\s*>", re.IGNORECASE)),
)
# Possessive: a name without its ">" would otherwise be tried at each of its lengths.
_TAG = re.compile(r"</?([A-Za-z][A-Za-z0-9:-]*+)[^<>]*+>|<[!?][^<>]*+>")
_AMPERSANDS = re.compile(r"&(?:(?:amp|#0{0,8}38|#[xX]0{0,8}26);)+")
_ENTITY = re.compile(r"&(#[0-9]{1,9}|#[xX][0-9A-Fa-f]{1,8}|[A-Za-z][A-Za-z0-9]{1,31});")
# fmt: off
FORMATTING = frozenset({
    "a", "abbr", "acronym", "b", "bdi", "bdo", "big", "cite", "code", "del", "dfn", "em", "font", "i", "ins", "kbd",
    "mark", "q", "ref", "s", "samp", "small", "span", "strike", "strong", "sub", "sup", "tt", "u", "var", "wbr",
})
BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "br", "caption", "center", "dd", "div", "dl", "dt", "fieldset",
    "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "head", "header", "hr", "html", "li",
    "main", "nav", "ol", "option", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "title", "tr",
    "ul",
})
# fmt: on


def _cut(text: str, opening: re.Pattern[str], closing: re.Pattern[str]) -> str:
    """Replace every stretch from ``opening`` to the next ``closing`` by a blank; an unclosed one stays."""
    pieces = []
    position = 0
    while start := opening.search(text, position):
        end = closing.search(text, start.end())
        if end is None:
            break
        pieces += [text[position : start.start()], " "]
        position = end.end()
    return "".join([*pieces, text[position:]])


def _tag_gap(tag: re.Match[str]) -> str:
    name = (tag[1] or "").lower()
    if name in BLOCKS:
        return "\n"
    return "" if name in FORMATTING else " "


def _decoded(entity: re.Match[str]) -> str:
    return unescape(entity[0]) if entity[1].startswith("#") else html5.get(entity[1] + ";", entity[0])


def wiki(text: str) -> str:
    r"""Remove what MediaWiki extraction leaves of its markup.

    Gone are quotes for bold and italics, brackets of links and templates, heading and list signs, table and picture
    leftovers, empty parentheses, behaviour switches, and whole lines without a word or that only file the page
    (categories, other languages, redirects).

    >>> wiki("== History ==\n* It was '''bold''' [[indeed]].\nthumb|left|A cat.\nfr:Histoire")
    'History\nIt was bold indeed.\nA cat.\n'
    """
    return _until_stable(text, _wiki_once, "'[](){}|_=*#:;!-")


def _wiki_once(text: str) -> str:
    # Looking for a plain string costs next to nothing, and most text has none of these.
    if "''" in text:
        text = _QUOTES.sub("", text)
    if "|" in text:
        text = _PICTURE.sub(" ", text)
    if any(pair in text for pair in ("[[", "]]", "{{", "}}", "{|", "|}")):
        text = _BRACKETS.sub("", text)
    if "(" in text:
        text = _EMPTY_PARENTHESES.sub("", text)
    if "|" in text or "__" in text:
        text = _SWITCHES.sub(" ", text)
    return "\n".join(_wiki_line(line) for line in text.split("\n"))


def _wiki_line(line: str) -> str:
    # Looking at a line's ends first spares most lines the expressions.
    if line[:1] in _MARKUP_STARTS:
        line = _LINE_START.sub("", line)
    line = line.rstrip(" \t=")
    if line and (not line[0].isalnum() or ":" in line[:_FILING_CHARS] or line.startswith("REDIRECT")):
        line = "" if _FILING_LINE.fullmatch(line) else line
    return line


_QUOTES = re.compile(r"'{2,}")
_PICTURE = re.compile(
    r"\b(?:thumb|thumbnail|frame|frameless|border|left|right|center|none|upright(?:=[\d.]{1,8})?|\d{1,5}px|"
    r"alt=[^|\n]{0,200})\|"
)
_BRACKETS = re.compile(r"\[{2,}|\]{2,}|\{{2,}|\}{2,}|\{\||\|\}")
# What a template for pronunciation or the like leaves behind; a dump has one in many a first sentence.
_EMPTY_PARENTHESES = re.compile(r"\([ \t,;]*+\)")
_SWITCHES = re.compile(r"\|+|__[A-Z]{3,30}__")
_MARKUP_STARTS = frozenset("*#:;!=- \t")
# The longest beginning of a line that files a page, "abc-defghijklm:", and more.
_FILING_CHARS = 20
_LINE_START = re.compile(r"^(?:(?:[ \t]*(?:[*#:;!=]|-{4,}))+[ \t]*|[ \t]+)")
_FILING_LINE = re.compile(
    r"(?:Category|File|Image|Template|Wikipedia|MediaWiki):.*|REDIRECT\b.*|"
    r"[a-z]{2,3}(?:-[a-z]{2,10})?:[^\s/:].*|[^\w]++"
)


def urls(text: str) -> str:
    r"""Replace web addresses by a blank; punctuation that ends the sentence stays.

    >>> urls("See https://example.org/a?b=c, or www.example.com.")
    'See  , or  .'
    """
    if "://" not in text and "www." not in text.lower():
        return text
    return _URL.sub(" ", text)


_URL = re.compile(r"\b(?:(?:https?|ftps?|file|irc|git)://|www\.)\S*[^\s.,;:!?'\"()\[\]{}<>’”]", re.IGNORECASE)


def emails(text: str) -> str:
    r"""Replace mail addresses by a blank.

    >>> emails("Write to jane.doe+lists@example.co.uk today.")
    'Write to   today.'
    """
    return _EMAIL.sub(" ", text) if "@" in text else text


# Possessive, with a look-behind: otherwise a long word without "@" would be tried from each of its letters.
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]++@[\w-]++(?:\.[\w-]++)+")


def numbers(text: str) -> str:
    r"""Map every number, with its thousands and decimal separators, to the word ``0``.

    The token is itself a number: so the step is idempotent, tokenizers that keep digits keep it, and neither ``html``
    nor a tokenizer takes it apart, as they would ``<num>``.

    >>> numbers("In 1999, 1,234.5 of 7th graders.")
    'In 0, 0 of 0th graders.'
    """
    return _NUMBER.sub("0", text)


_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


def whitespace(text: str) -> str:
    r"""One blank between words, no blanks around a line break, at most one empty line between paragraphs.

    >>> whitespace("  a \t b\xa0c \n\n\n\n d\n")
    'a b c\n\nd'
    """
    # As in wiki: asking for plain strings first spares most text most of the work.
    if "  " in text or _ODD_BLANK.search(text):
        text = _BLANKS.sub(" ", text)
    if " \n" in text or "\n " in text:
        text = _AROUND_BREAK.sub("\n", text)
    if "\n\n\n" in text:
        text = _EMPTY_LINES.sub("\n\n", text)
    return text.strip()


_BLANKS = re.compile(r"[^\S\n]+")
# What str.isspace knows beyond blank and newline; spelled out, it is found ten times faster than by [^\S\n ].
_ODD_BLANK = re.compile("[\t\x0b-\r\x1c-\x1f\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]")
_AROUND_BREAK = re.compile(r" ?\n ?")
_EMPTY_LINES = re.compile(r"\n{3,}")

STEPS: dict[str, Callable[[str], str]] = {
    "nfc": nfc,
    "html": html,
    "wiki": wiki,
    "urls": urls,
    "emails": emails,
    "contractions": contractions,
    "numbers": numbers,
    "whitespace": whitespace,
}


def clean(text: str, steps: Sequence[CleaningStep]) -> str:
    r"""Run the named steps in their order, again and again until nothing changes (at most 8 rounds).

    Repeating makes the whole pipeline idempotent, whatever the order: a decoded entity may be half of an accented
    letter that ``nfc`` composes, and a dropped invisible character may complete a tag for ``html``.

    >>> clean("I don&#39;t  know", ["contractions", "html", "whitespace"])
    'I do not know'
    """
    for _ in range(MAX_ROUNDS):
        before = text
        for step in steps:
            text = STEPS[step](text)
        if text == before:
            break
    return text
