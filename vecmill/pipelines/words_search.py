"""The search around the ``words`` pipeline: its stages, and a section that says which fields vary."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from vecmill.pipelines.words import WORDS, WordsConfig
from vecmill.store.plan import Pipeline
from vecmill.tuning.config import SearchConfig
from vecmill.tuning.space import check_objective, check_space


class WordsSearchConfig(WordsConfig):
    """A configuration of ``words`` to start from, and how to look for a better one."""

    search: SearchConfig = Field(description="Which fields vary, and how candidates are drawn, judged and dropped.")

    @model_validator(mode="after")
    def _space_fits(self) -> Self:
        check_space(self.base(), self.search)
        check_objective(self, self.search)
        return self

    def base(self) -> WordsConfig:
        """The configuration that the search starts from."""
        return WordsConfig.model_construct(
            self.model_fields_set - {"search"}, **{name: getattr(self, name) for name in WordsConfig.model_fields}
        )


WORDS_SEARCH = Pipeline(name="words-search", config=WordsSearchConfig, stages=WORDS.stages, searches=True)
