"""Which text to read, how, and how to clean it."""

from __future__ import annotations

import codecs
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, JsonValue, field_validator

from vecmill.config.base import NOT_IN_KEY, Config
from vecmill.config.secrets import check_options, holds_credentials
from vecmill.corpus.duplicates_config import DuplicatesConfig
from vecmill.text.cleaning import CleaningStep

SourceFormat = Literal[
    "txt", "jsonl", "csv", "tsv", "parquet", "mediawiki", "html", "mbox", "eml", "code", "zip", "tar"
]
CodeLanguage = Literal[
    "c",
    "cpp",
    "csharp",
    "css",
    "go",
    "haskell",
    "java",
    "javascript",
    "julia",
    "kotlin",
    "lua",
    "perl",
    "php",
    "python",
    "r",
    "ruby",
    "rust",
    "scala",
    "shell",
    "sql",
    "swift",
    "typescript",
]


class CorpusConfig(Config):
    """Sources of text and what happens to them on their way into the corpus."""

    # A refused value may be a secret: it stays out of the message.
    model_config = ConfigDict(hide_input_in_errors=True)

    sources: tuple[str, ...] = Field(
        ("builtin:enwiki-sample",),
        min_length=1,
        description=(
            "paths, globs (** crosses folders), folders, or URLs that fsspec knows (s3://bucket/prefix/*.parquet); of "
            "a folder, the files whose ending names a format. builtin:enwiki-sample is the English Wikipedia dump "
            "sample that the gensim package carries"
        ),
    )
    format: Literal["auto"] | SourceFormat = Field(
        "auto",
        description=(
            "format of every source; auto goes by the ending of its name, before .gz, .bz2, .xz or .zst. What is "
            "named as an archive is read as one, and the format is that of the files in it"
        ),
    )
    txt_unit: Literal["file", "line", "paragraph"] = Field(
        "file", description="what is one document in a text file; paragraphs are separated by empty lines"
    )
    text_column: str = Field(
        "text", min_length=1, description="column or JSON key that holds the text (jsonl, csv, tsv, Parquet)"
    )
    title_column: str | None = Field(
        None,
        min_length=1,
        description=(
            "column or JSON key that holds the title; none: titles are empty. Of mail a header, Subject unless set"
        ),
    )
    id_column: str | None = Field(
        None,
        min_length=1,
        description=(
            "column or JSON key that names each document, unique within its file; none: documents are named by their "
            "position, so inserting one renames those after it. Of mail a header (Message-ID)"
        ),
    )
    code_languages: tuple[CodeLanguage, ...] = Field(
        (), description="programming languages to read of a code tree (format: code); none: all that are known"
    )
    code_parts: tuple[Literal["comments", "code"], ...] = Field(
        ("comments", "code"),
        min_length=1,
        description="documents of a file of code: its comments and docstrings, what is left without them, or both",
    )
    csv_delimiter: str = Field(
        ",",
        min_length=1,
        max_length=1,
        description="character between the cells of a csv file (RFC 4180); tsv has a tab",
    )
    encoding: str = Field(
        "utf-8",
        description=(
            "encoding of text, jsonl and csv files, as Python names it (a UTF-8 mark is dropped); of HTML and mail "
            "where they name none"
        ),
    )
    encoding_errors: Literal["error", "replace"] = Field(
        "error",
        description="badly encoded bytes: error stops and names the offset, replace puts U+FFFD in their place",
    )
    malformed: Literal["error", "skip"] = Field(
        "error",
        description="a record that cannot be read: error stops naming file and line, skip leaves it out and counts it",
    )
    cleaning: tuple[CleaningStep, ...] = Field(
        ("nfc", "html", "wiki", "urls", "emails", "whitespace"),
        description="cleaning steps in their order; see vecmill.text.cleaning for what each does",
    )
    identify_language: bool = Field(
        False,
        description=(
            "whether each document's language stands beside it (column language); needs vecmill[language]. Default: "
            "off, our choice, since it takes longer than all the rest of ingest"
        ),
    )
    languages: tuple[Annotated[str, Field(pattern="^[a-z]{2,3}$")], ...] = Field(
        (),
        description=(
            "ISO 639 codes of the languages to keep (en, de), und for texts too short to tell; documents in others are "
            "dropped. Default: empty, keeps all"
        ),
    )
    duplicates: DuplicatesConfig = Field(
        DuplicatesConfig(), description="which documents count as the same, and whether only the first of them stays"
    )
    storage_options: dict[str, JsonValue] = Field(
        default_factory=dict,
        json_schema_extra=NOT_IN_KEY,
        description=(
            "options for the sources' file system (s3fs: anon, endpoint_url…); never credentials, which come from "
            "the AWS_* environment variables"
        ),
    )
    max_document_mib: int = Field(
        64,
        ge=1,
        le=1024,
        description="largest document or record in MiB, decompressed; a larger one stops the run (our choice)",
    )
    max_unpacking: int = Field(
        200,
        ge=1,
        le=100_000,
        description=(
            "largest size of what an archive holds, as a multiple of its own, though never less than one largest "
            "document; one that unpacks to more stops the run (our choice: text packs 3- to 20-fold)"
        ),
    )
    shard_mib: int = Field(
        128,
        ge=1,
        le=4096,
        description="text in one Parquet shard in MiB before compression (our choice: a shard in seconds)",
    )

    @field_validator("sources", mode="before")
    @classmethod
    def _one_or_several(cls, sources: Any) -> Any:
        return (sources,) if isinstance(sources, str) else sources

    @field_validator("sources")
    @classmethod
    def _sources_without_passwords(cls, sources: tuple[str, ...]) -> tuple[str, ...]:
        for position, source in enumerate(sources):
            if not source.strip():
                raise ValueError(f"source {position} is empty; name a path, a glob, a folder or a URL")
            if holds_credentials(source):
                raise ValueError(
                    f"source {position} carries credentials in its URL; remove them and set AWS_ACCESS_KEY_ID and "
                    "AWS_SECRET_ACCESS_KEY in the environment instead"
                )
        return sources

    @field_validator("languages", mode="before")
    @classmethod
    def _one_language_or_several(cls, languages: Any) -> Any:
        return (languages,) if isinstance(languages, str) else languages

    @property
    def tells_language(self) -> bool:
        """Whether ingest identifies languages, to keep them or to go by them."""
        return self.identify_language or bool(self.languages)

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, encoding: str) -> str:
        try:
            "".encode(encoding)
            codecs.getincrementaldecoder(encoding)
        except (LookupError, ValueError):
            raise ValueError(
                f"no text encoding is called {encoding!r}; common ones: utf-8, utf-16, latin-1, cp1252"
            ) from None
        return encoding

    @field_validator("storage_options")
    @classmethod
    def _options_without_secrets(cls, options: dict[str, Any]) -> dict[str, Any]:
        return check_options(options)
