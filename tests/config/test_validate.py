"""Refusals of bad configuration: the path, what was found, the nearest valid name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import pytest
from pydantic import ConfigDict, Field

from vecmill.config.base import NOT_IN_KEY, Config, key_config
from vecmill.config.overrides import apply_overrides
from vecmill.config.pipelines_file import read_pipelines_file
from vecmill.config.secrets import check_options
from vecmill.config.validate import validate
from vecmill.errors import ConfigError


class Cat(Config):
    kind: Literal["cat"] = "cat"
    lives: int = Field(9, ge=1)


class Dog(Config):
    kind: Literal["dog"] = "dog"
    tricks: tuple[str, ...] = ()
    speed: float = Field(1.0, json_schema_extra=NOT_IN_KEY)


class House(Config):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    rooms: int = Field(1, ge=1, le=10)
    name: str = ""


def refusal(values: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        validate(House, values, "house.yaml")
    return str(caught.value)


def test_valid() -> None:
    assert validate(House, {"pet": {"kind": "dog"}, "rooms": "3"}, "x").rooms == 3


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"pet": {"kind": "cat"}, "romos": 2}, ["house.yaml: unknown key 'romos'", "did you mean 'rooms'?"]),
        ({"pet": {"kind": "cat", "live": 3}}, ["unknown key 'pet.live'", "did you mean 'pet.lives'?"]),
        ({"pet": {"kind": "dog", "xyzzy": 3}}, ["unknown key 'pet.xyzzy'", "valid names here: kind, speed, tricks"]),
        ({"pet": {"kind": "cat", "lives": 0}}, ["pet.lives = 0: input should be greater than or equal to 1"]),
        ({"pet": {"kind": "cat"}, "rooms": "many"}, ["rooms = 'many': input should be a valid integer"]),
        ({"rooms": 2}, ["'pet' is missing", "set pet"]),
        ({"pet": {"kind": "fish"}}, ["pet.kind is 'fish', expected one of 'cat', 'dog'"]),
        ({"pet": {"kind": "dog", "tricks": [1]}}, ["pet.tricks.0 = 1"]),
    ],
)
def test_refusals(values: dict[str, object], parts: list[str]) -> None:
    message = refusal(values)
    for part in parts:
        assert part in message


def test_what_counts_towards_a_key() -> None:
    house = House(pet=Dog(speed=3.0, tricks=("sit",)), rooms=2)
    assert key_config(house) == {"pet": {"kind": "dog", "tricks": ["sit"]}, "rooms": 2, "name": ""}


def test_overrides() -> None:
    values = {"pet": {"kind": "cat"}}
    changed = apply_overrides(values, ["pet.lives=3", 'name="a=b"', "tags=[x, 'y z']", "rooms = 4"])
    assert changed == {"pet": {"kind": "cat", "lives": 3}, "name": "a=b", "tags": ["x", "y z"], "rooms": 4}
    assert values == {"pet": {"kind": "cat"}}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("rooms", "--set got 'rooms'. Expected: path=value"),
        ("=3", "--set got '=3'"),
        ("pet..lives=3", "--set got 'pet..lives=3'"),
        ("rooms=[1,", "is not a YAML value"),
        ("pet.kind.deep=3", "goes through 'pet.kind', which is 'cat'"),
    ],
)
def test_override_refusals(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        apply_overrides({"pet": {"kind": "cat"}}, [override])
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no"),
        ("deployments: [", "line 1 is not valid YAML"),
        ("just text", "holds no mapping"),
        ("deployments:\n- name: a\n  entrypoint: x\n  descriptoin: y\n", "did you mean 'deployments.0.description'?"),
        ("deployments:\n- name: a\n  entrypoint: x\n  schedules: [{cron: '* * * * *', tz: UTC}]\n", "schedules.0.tz"),
        (
            "deployments:\n- name: a\n  entrypoint: x\n  schedules: [{cron: '* * * * *', interval: 3}]\n",
            "exactly one of cron, interval and rrule",
        ),
    ],
)
def test_pipelines_file_refusals(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "pipelines.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_pipelines_file(path)
    assert message in str(caught.value)


def test_an_unknown_pipeline_names_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "pipelines.yaml"
    path.write_text("deployments:\n- {name: words, entrypoint: x}\n- {name: cube, entrypoint: y}\n")
    with pytest.raises(ConfigError, match=r"no pipeline 'wrods'.*one of words, cube.*did you mean 'words'\?"):
        read_pipelines_file(path).deployment("wrods")


@pytest.mark.parametrize(
    ("text", "value"),
    [("012", "012"), ("12:30", "12:30"), ("no", "no"), ("1e-3", 0.001), ("3", 3), ("true", True), ("null", None)],
)
def test_values_mean_what_people_write(text: str, value: object) -> None:
    assert apply_overrides({}, [f"x={text}"]) == {"x": value}


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "pipelines.yaml"
    path.write_text("deployments:\n- name: a\n  name: b\n  entrypoint: x\n")
    with pytest.raises(ConfigError, match=r"the key 'name' is given twice, the second time in line 3"):
        read_pipelines_file(path)


class Vault(Config):
    model_config = ConfigDict(hide_input_in_errors=True)
    door: int = 1


class Bank(Config):
    vault: Vault = Vault()


@pytest.mark.parametrize("given", [{"vault": "hunter2"}, {"vault": {"door": "hunter2"}}])
def test_what_may_be_a_secret_is_not_repeated(given: dict[str, object]) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(Bank, given, "bank.yaml")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {"secret": "x"},
        {"client_kwargs": {"aws_secret_access_key": "x"}},
        {"headers": {"Authorization": "Bearer x"}},
        {"client_kwargs": {"endpoint_url": "http://u:pw@h"}},
    ],
)
def test_options_with_credentials_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="looks like a credential"):
        check_options(options)
    assert check_options({"endpoint_url": "http://127.0.0.1:9000", "anon": True})
