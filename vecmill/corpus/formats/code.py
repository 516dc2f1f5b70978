"""Source code: what was written for people (comments, docstrings) apart from what was written for the machine.

Python is taken apart by its own tokenizer and parser. Other languages go by a small table of what begins a comment and
what encloses a string; that is enough to find their comments, and no more is asked of it.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from vecmill.corpus.config import CorpusConfig
from vecmill.corpus.formats.lines import decoded_blocks
from vecmill.corpus.listing import SourceFile
from vecmill.corpus.naming import LANGUAGES, language_of
from vecmill.corpus.record import Document, OnMalformed, malformed, too_large
from vecmill.errors import SourceError


@dataclass(frozen=True)
class Syntax:
    """What begins a comment to the end of the line, the pairs that enclose a longer one, and the quotes of strings."""

    line: tuple[str, ...]
    block: tuple[tuple[str, str], ...] = ()
    quotes: str = "\"'"


_C = Syntax(("//",), (("/*", "*/"),))
_SHELL = Syntax(("#",))
SYNTAXES: dict[str, Syntax] = {
    "c": _C,
    "cpp": _C,
    "csharp": _C,
    "css": Syntax((), (("/*", "*/"),)),
    "go": Syntax(("//",), (("/*", "*/"),), "\"'`"),
    "haskell": Syntax(("--",), (("{-", "-}"),), '"'),
    "java": _C,
    "javascript": Syntax(("//",), (("/*", "*/"),), "\"'`"),
    "julia": Syntax(("#",), (("#=", "=#"),), '"'),
    "kotlin": _C,
    "lua": Syntax(("--",), (("--[[", "]]"),)),
    "perl": _SHELL,
    "php": Syntax(("//", "#"), (("/*", "*/"),)),
    "r": _SHELL,
    "ruby": _SHELL,
    # A single quote also begins a lifetime, which has no end.
    "rust": Syntax(("//",), (("/*", "*/"),), '"'),
    "scala": Syntax(("//",), (("/*", "*/"),), '"'),
    "shell": _SHELL,
    "sql": Syntax(("--",), (("/*", "*/"),)),
    "swift": Syntax(("//",), (("/*", "*/"),), '"'),
    "typescript": Syntax(("//",), (("/*", "*/"),), "\"'`"),
}
# What decorates the lines of a comment: "/**", " * ", "///", "##".
_DECORATION = re.compile(r"^[ \t]*[/*#!;-]*[ \t]?|[ \t]*\**$", re.MULTILINE)


def read_code(
    stream: BinaryIO, file: SourceFile, config: CorpusConfig, on_malformed: OnMalformed
) -> Iterator[Document]:
    """Read a file of code as up to two documents, its comments and its code, as ``corpus.code_parts`` asks.

    A Python file that its parser refuses is a malformed record.

    Raises
    ------
    SourceError : a name whose ending says no language, a file larger than the largest document, no text
    """
    language = language_of(file.name)
    if language is None:
        raise SourceError(
            f"the name of {file.uri} does not say its programming language",
            expected=f"a name ending in {', '.join(LANGUAGES)}",
            todo="rename the file or leave it out",
        )
    blocks: list[str] = []
    n_chars = 0
    for block in decoded_blocks(stream, file, config):
        blocks.append(block)
        n_chars += len(block)
        if n_chars > config.max_document_mib << 20:
            raise too_large(file, "whole file", config, "leave the file out,")
    source = "".join(blocks).replace("\r\n", "\n")
    try:
        comments, code = split_python(source) if language == "python" else split_code(source, SYNTAXES[language])
    # The last two: nested too deeply for the parser; a MemoryError is how some versions say so.
    except (SyntaxError, tokenize.TokenError, ValueError, RecursionError, MemoryError) as error:
        on_malformed(malformed(file, "whole file", f"not Python that can be parsed ({error})", "Python 3"))
        return
    for part, text in (("comments", comments), ("code", code)):
        if part in config.code_parts and text.strip():
            yield Document(text, part, f"{file.name} ({language})")


def split_python(source: str) -> tuple[str, str]:
    """Docstrings and comments of a Python file in their order, and the file without them.

    >>> split_python('def f():  # why\\n    "What it does."\\n    return "# no"\\n')
    ('why\\nWhat it does.', 'def f():\\n    return "# no"\\n')

    Raises
    ------
    SyntaxError, ValueError, tokenize.TokenError : it is no Python
    """
    lines = source.split("\n")
    docstrings = {}
    with warnings.catch_warnings():
        # The parser warns of escapes like "\\d", which are the business of whoever wrote the file.
        warnings.simplefilter("ignore")
        module = ast.parse(source)
    for node in ast.walk(module):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                first = node.body[0]
                # The parser counts bytes, the tokenizer characters.
                n_chars = len(lines[first.lineno - 1].encode()[: first.col_offset].decode())
                docstrings[first.lineno, n_chars] = text
    found: list[str] = []
    spans: list[tuple[tuple[int, int], tuple[int, int]]] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            found.append(_undecorated(token.string))
        elif token.type == tokenize.STRING and token.start in docstrings:
            found.append(docstrings.pop(token.start))
        else:
            continue
        spans.append((token.start, token.end))
    for (top, begin), (last, end) in reversed(spans):
        head, tail = lines[top - 1][:begin], lines[last - 1][end:]
        lines[top - 1 : last] = [head.rstrip() + tail if not tail.strip() else head + tail]
    return "\n".join(filter(None, found)), _without_gaps("\n".join(lines))


def split_code(source: str, syntax: Syntax) -> tuple[str, str]:
    """Comments of a file in their order, and the file without them, in one pass.

    >>> split_code('int n = 1; // how many\\n/* Two\\n * lines */\\nchar *s = "// no";\\n', SYNTAXES["c"])
    ('how many\\nTwo\\nlines', 'int n = 1;\\nchar *s = "// no";\\n')
    """
    closings = dict(syntax.block)
    signs = sorted([*closings, *syntax.line, *syntax.quotes], key=len, reverse=True)
    opening = re.compile("|".join(map(re.escape, signs)))
    comments: list[str] = []
    code: list[str] = []
    position = 0
    while start := opening.search(source, position):
        sign = start[0]
        code.append(source[position : start.start()])
        if sign in closings:
            end = source.find(closings[sign], start.end())
            end = len(source) if end < 0 else end
            comments.append(_undecorated(source[start.end() : end]))
            position = min(len(source), end + len(closings[sign]))
        elif sign in syntax.line:
            end = source.find("\n", start.end())
            position = len(source) if end < 0 else end
            comments.append(_undecorated(source[start.end() : position]))
        else:
            position = _string_end(source, start.end(), sign)
            code.append(source[start.start() : position])
    code.append(source[position:])
    return "\n".join(filter(None, comments)), _without_gaps("".join(code))


def _string_end(source: str, begin: int, quote: str) -> int:
    """Where a string ends: at its quote, and but for back quotes at the end of its line at the latest."""
    position = begin
    while position < len(source):
        letter = source[position]
        if letter == "\\":
            position += 2
            continue
        if letter == quote:
            return position + 1
        if letter == "\n" and quote != "`":
            return position
        position += 1
    return len(source)


def _undecorated(comment: str) -> str:
    return _DECORATION.sub("", comment).strip()


def _without_gaps(code: str) -> str:
    """Code without the blanks and empty lines that comments leave behind."""
    lines = [line.rstrip() for line in code.split("\n")]
    return "".join(f"{line}\n" for line in lines if line)
