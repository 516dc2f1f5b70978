"""English contractions, written out."""

from __future__ import annotations

import re

_APOSTROPHES = "['\u2019\u2018\u02bc\uff07\u00b4]"

# What stands before "n't" -> the expansion. Only auxiliaries take it, so the list is complete.
_NEGATED = {
    "ai": "is not",
    "are": "are not",
    "ca": "can not",
    "could": "could not",
    "dare": "dare not",
    "did": "did not",
    "do": "do not",
    "does": "does not",
    "had": "had not",
    "has": "has not",
    "have": "have not",
    "is": "is not",
    "may": "may not",
    "might": "might not",
    "must": "must not",
    "need": "need not",
    "ought": "ought not",
    "sha": "shall not",
    "should": "should not",
    "was": "was not",
    "were": "were not",
    "wo": "will not",
    "would": "would not",
}
# After these "'s" is nearly always "is" (sometimes "has"); after any other word it is mostly a possessive and stays.
_BEFORE_IS = frozenset(
    ["he", "here", "how", "it", "she", "that", "there", "this", "what", "when", "where", "who", "why"]
)
# After these "'d" is "would" or "had"; "would" is the commoner.
_BEFORE_WOULD = frozenset(
    ["he", "how", "i", "it", "she", "that", "there", "they", "we", "what", "where", "who", "why", "you"]
)
# These follow any word, names included, and mean one thing only.
_ENDINGS = {"ll": "will", "re": "are", "ve": "have"}

# One of the apostrophes (U+02BC) counts as a letter.
_LETTERS = r"[^\W\u02bc]++"
_CONTRACTED = re.compile(f"{_LETTERS}(?:{_APOSTROPHES}{_LETTERS})+")
_CLIPPED = re.compile(rf"{_APOSTROPHES}(?<!\w.)(t)(is|was)\b", re.IGNORECASE)
_APOSTROPHE = re.compile(f"({_APOSTROPHES})")


def contractions(text: str) -> str:
    r"""Write English contractions out, keeping capitals; possessives stay as they are.

    Straight and typographic apostrophes count alike. Where a contraction has two readings the commoner is taken:
    "it's" becomes "it is" though it may be "it has", "I'd" becomes "I would" though it may be "I had", "ain't" becomes
    "is not".

    >>> contractions("I don't think Tom’s sister can't swim; SHE'S sure they'd've told us. Won't they?")
    'I do not think Tom’s sister can not swim; SHE IS sure they would have told us. Will not they?'
    """
    if not _APOSTROPHE.search(text):
        return text
    return _CONTRACTED.sub(_expanded, _CLIPPED.sub(_unclipped, text))


def _expanded(found: re.Match[str]) -> str:
    """Expand one word with its endings, from left to right ("they'd've" has two)."""
    first, *rest = _APOSTROPHE.split(found[0])
    written = [first]
    before = first
    for apostrophe, ending in zip(rest[::2], rest[1::2], strict=True):
        expansion = _expansion(before.lower(), ending.lower())
        if not expansion:
            written.append(apostrophe + ending)
            # Part of a longer word now, which stands in no table.
            before = f"'{ending}"
            continue
        head, *tail = expansion
        # A capital before the ending says nothing ("I'm"), both together do.
        all_capitals = before.isupper() and ending.isupper()
        if head != before.lower():
            written[-1] = head.upper() if all_capitals else head.capitalize() if before[0].isupper() else head
        written += [f" {word.upper() if all_capitals else word}" for word in tail]
        before = tail[-1]
    return "".join(written)


def _expansion(before: str, ending: str) -> list[str]:
    """The words that ``before`` and ``ending`` stand for, both in small letters; empty where it is no contraction."""
    if ending in _ENDINGS:
        return [before, _ENDINGS[ending]]
    if ending == "t" and before.endswith("n") and before[:-1] in _NEGATED:
        return _NEGATED[before[:-1]].split()
    if ending == "s" and before in _BEFORE_IS:
        return [before, "is"]
    if ending == "d" and before in _BEFORE_WOULD:
        return [before, "would"]
    return _WHOLE.get((before, ending), [])


_WHOLE = {("i", "m"): ["i", "am"], ("let", "s"): ["let", "us"], ("y", "all"): ["you", "all"]}


def _unclipped(found: re.Match[str]) -> str:
    expansion = f"it {found[2].lower()}"
    if found[1].isupper():
        return expansion.upper() if found[2].isupper() else expansion.capitalize()
    return expansion
