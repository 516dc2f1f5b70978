"""Where sentences end: plain rules over punctuation and line ends, the same in Python and in the vectorised path.

A sentence ends
  - at a line end;
  - after one or more of ``. ! ? … ؟ ۔ ։ ।``, with any closing quotes and brackets, where white space follows;
  - after one of ``。 ！ ？ ｡``, with any closing quotes and brackets, whatever follows (those scripts put no spaces).

Left out on purpose: abbreviations. "Mr. Smith" is cut after "Mr."; for word vectors this costs a few pairs of
neighbours, whereas a list of abbreviations would have to be right for every language.
"""

from __future__ import annotations

import re
from typing import Literal

SentenceUnit = Literal["sentence", "line", "document"]

# What Python calls white space, written out because Rust's `\s` leaves out U+001C to U+001F.
LINE_ENDS = r"\n\v\f\r\x85\u2028\u2029"
SPACES = r"\t \x1C-\x1F\xA0\u1680\u2000-\u200A\u202F\u205F\u3000" + LINE_ENDS

END_MARKS = ".!?…؟۔։।"
END_MARKS_WITHOUT_SPACE = "。！？｡"
CLOSERS = r"\"'”’»)\]」』）"

_LINE_BREAK = f"[{LINE_ENDS}]+"
_SENTENCE_BREAK = f"[{END_MARKS}]+[{CLOSERS}]*[{SPACES}]|[{END_MARKS_WITHOUT_SPACE}]+[{CLOSERS}]*|{_LINE_BREAK}"

# What stands between two sentences, by unit; a document has nothing between.
BREAK_PATTERNS: dict[SentenceUnit, str | None] = {
    "sentence": _SENTENCE_BREAK,
    "line": _LINE_BREAK,
    "document": None,
}


def split_sentences(text: str, unit: SentenceUnit = "sentence") -> list[str]:
    """Cut a text into sentences, lines, or not at all.

    The pieces keep their end marks, lose white space at both ends, and are never empty.

    >>> split_sentences("It rained. “Really?” Yes, 3.5 mm!\\nThen it stopped")
    ['It rained.', '“Really?”', 'Yes, 3.5 mm!', 'Then it stopped']
    >>> split_sentences("一。二！", "sentence"), split_sentences("One. Two.", "line")
    (['一。', '二！'], ['One. Two.'])
    """
    pattern = BREAK_PATTERNS[unit]
    starts = [0] if pattern is None else [0, *(found.end() for found in re.finditer(pattern, text))]
    pieces = (text[start:stop].strip() for start, stop in zip(starts, [*starts[1:], len(text)], strict=True))
    return [piece for piece in pieces if piece]
