"""What the name of a file says: its format and its compression."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Literal

from vecmill.corpus.config import CorpusConfig, SourceFormat

Compression = Literal["gz", "bz2", "xz", "zst"]

COMPRESSIONS: dict[str, Compression] = {".gz": "gz", ".bz2": "bz2", ".xz": "xz", ".zst": "zst"}
ENDINGS: dict[str, SourceFormat] = {
    ".txt": "txt",
    ".text": "txt",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".xml": "mediawiki",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".mbox": "mbox",
    ".eml": "eml",
    ".zip": "zip",
    ".tar": "tar",
}
# What an archive holds has formats of its own.
ARCHIVES: tuple[SourceFormat, ...] = ("zip", "tar")
# Programming languages by the endings of their files (corpus.format=code).
LANGUAGES: dict[str, str] = {
    ".py": "python",
    ".pyi": "python",
    ".c": "c",
    ".h": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".hpp": "cpp",
    ".cs": "csharp",
    ".css": "css",
    ".go": "go",
    ".hs": "haskell",
    ".java": "java",
    ".js": "javascript",
    ".jsx": "javascript",
    ".mjs": "javascript",
    ".jl": "julia",
    ".kt": "kotlin",
    ".lua": "lua",
    ".pl": "perl",
    ".php": "php",
    ".r": "r",
    ".rb": "ruby",
    ".rs": "rust",
    ".scala": "scala",
    ".sh": "shell",
    ".sql": "sql",
    ".swift": "swift",
    ".ts": "typescript",
    ".tsx": "typescript",
}
_PACKED_TARS: dict[str, Compression] = {".tgz": "gz", ".tbz2": "bz2", ".txz": "xz", ".tzst": "zst"}
# Wikimedia numbers the parts of a dump after the ending: enwiki-latest-pages-articles1.xml-p1p41242.bz2
_DUMP_PART = re.compile(r"\.xml-[^./]+$")


def split_name(name: str) -> tuple[SourceFormat | None, Compression | None]:
    """Format and compression of a file by its name, None where the name does not say.

    >>> split_name("reviews.jsonl.gz"), split_name("notes"), split_name("enwiki.xml-p1p41242.bz2")
    (('jsonl', 'gz'), (None, None), ('mediawiki', 'bz2'))
    """
    name = name.lower()
    compression = COMPRESSIONS.get(PurePosixPath(name).suffix)
    if packed := _PACKED_TARS.get(PurePosixPath(name).suffix):
        return "tar", packed
    if compression is not None:
        name = name[: -len(compression) - 1]
    if _DUMP_PART.search(name):
        return "mediawiki", compression
    return ENDINGS.get(PurePosixPath(name).suffix), compression


def language_of(name: str) -> str | None:
    """Programming language of a file by its name, None where the name does not say.

    >>> language_of("a/b.PY"), language_of("b.rs.gz"), language_of("Makefile")
    ('python', 'rust', None)
    """
    path = PurePosixPath(name.lower())
    if path.suffix in COMPRESSIONS:
        path = path.with_suffix("")
    return LANGUAGES.get(path.suffix)


def is_wanted(name: str, config: CorpusConfig) -> bool:
    """Whether a file of a folder or an archive is read: not hidden, and of an ending that names a format.

    Names that begin with a dot or an underscore are other programs' bookkeeping, but an underscore means nothing of the
    kind in code.
    """
    is_code = config.format == "code"
    if any(part.startswith("." if is_code else (".", "_")) for part in re.split(r"[/\\]", name)):
        return False
    if is_code:
        language = language_of(name)
        return language is not None and (not config.code_languages or language in config.code_languages)
    return config.format not in ("auto", *ARCHIVES) or split_name(name)[0] is not None
