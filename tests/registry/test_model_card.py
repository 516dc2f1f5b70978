"""What a card says, of what the registry keeps and of what it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from vecmill.registry.card import gist, model_card, read_card
from vecmill.registry.card_facts import CardFacts, card_facts
from vecmill.registry.config import RegistryConfig
from vecmill.registry.history import Version, find_version
from vecmill.registry.register import register_model
from vecmill.store.stage import StageIO

BARE = Version("3", "2026-03-01T10:00:00.000Z", (), {}, "", None, "models:/m-1")


def test_card_is_written_at_registration_and_can_be_written_again(
    finished: Callable[..., StageIO], sqlite_config: RegistryConfig, client: Any
) -> None:
    register_model(sqlite_config, finished(0.4, sources=("s3://key:s3cret@bucket/*.txt", "builtin:enwiki-sample")))
    version = find_version(client, "words", "1")
    card = read_card(client, "words", version)
    assert card == model_card(card_facts(client, "words", version)), "nothing in it depends on when it is written"
    assert card.startswith("# words, version 1\n\n> version 1 is champion: there was none (mean_spearman 0.4000)\n")
    for said in (
        "| `builtin:enwiki-sample` | text of the English Wikipedia",
        "| `s3://bucket/*.txt` | not stated; ask the owner of the text",
        "12 documents",
        "Kept: ",
        "× 4 dimensions",
        "| Wordsim353 | 0.4 | 0.3 … 0.5 | 317 of 353 | 0.4 |",
        'mlflow.pyfunc.load_model("models:/words/1")',
        "| ingest | `",
        f"| vector space | {version.tags['vecmill.space_id']} |",
    ):
        assert said in card, said
    assert "s3cret" not in card
    assert version.description.endswith("`vecmill registry card 1`.")


def test_card_of_a_version_that_keeps_nothing() -> None:
    card = model_card(CardFacts("words", BARE, "", {}))
    assert card.count("Not recorded.") == 3 and "None." in card and "## Limits" in card
    assert gist(CardFacts("words", BARE, "", {})).startswith(
        "word vectors, – dimensions, – words from – documents. Card:"
    )


def test_card_cannot_be_broken_by_what_it_quotes() -> None:
    lineage = {"ingest": {"parts": {"config": {"corpus": {"sources": ["a|b"]}}}, "metrics": {}}}
    report = {"passed": False, "rules": [{"rule": "r", "severity": "critical", "meaning": "<b>a\n|b", "passed": False}]}
    card = model_card(CardFacts("words", BARE, "a\n# b", lineage, contract=report))
    assert "> a # b" in card and "- `r` (critical): &lt;b>a \\|b" in card and "Broken: " in card


def test_card_shows_the_gate() -> None:
    test = {"title": "mean", "champion": 0.1, "challenger": 0.2, "difference": 0.1, "lower": 0.05, "upper": 0.15}
    gate = {
        "verdict": "promote",
        "champion": "2",
        "tests": [test | {"p_holm": 0.01, "power": 0.9, "detectable": 0.03}],
        "guards": [{"name": "coverage", "passed": True, "text": "x"}, {"name": "size", "passed": False, "text": "big"}],
    }
    card = model_card(CardFacts("words", BARE, "", {}, gate=gate))
    assert "**promote** against version 2" in card
    assert "| mean | 0.1 | 0.2 | 0.1 | 0.05 | 0.15 | 0.01 | 0.9 | 0.03 |" in card
    assert "- guard coverage: held" in card and "- guard size: big" in card
