"""What the name of a file says: its format and its compression."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Literal

from vecmill.corpus.config import SourceFormat

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
