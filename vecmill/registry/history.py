"""What a registry says about the past: versions, who was champion at a given time, and whether the ledger is sound.

Nothing here writes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from vecmill.errors import ConfigError, RegistryError
from vecmill.registry.chain import FOUND, Row, aliases_after, changes, in_utc, open_intent, read_rows, utc_now
from vecmill.registry.ledger import (
    HEAD_TAG,
    OF_TAG,
    REPLACED_TAG,
    RUN_TAG,
    WATCHED,
    claimed_ledger,
    drift,
    find_ledger,
    head_problems,
    registered_aliases,
)

CHAMPION = WATCHED[0]
_RECIPE_TAG, _SPACE_TAG = "vecmill.recipe", "vecmill.space_id"


@dataclass(frozen=True)
class Version:
    """A registered version as it stands now.

    Attributes
    ----------
    number : its version number
    made : when it was registered, UTC in ISO 8601
    aliases : all aliases that point to it, sorted
    tags : its tags (scores, digests, verdict)
    description : the verdict of its registration, as a rule
    run_id, source : the run behind it, and the URI of the stored model
    """

    number: str
    made: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    description: str
    run_id: str | None
    source: str


@dataclass(frozen=True)
class Reign:
    """A time during which one version was champion.

    Attributes
    ----------
    version : the champion, None for a time without one
    since, until : when it began and ended as rows have times; ``until`` is None while it lasts
    row : the row that says why it began
    ended_unseen : whether it was ended past vecmill, at an unknown time before ``until``
    """

    version: str | None
    since: str
    until: str | None
    row: Row
    ended_unseen: bool


def all_versions(client: Any, model_name: str) -> list[Version]:
    """Every version, newest first.

    Raises
    ------
    RegistryError : the registry has no such model
    """
    carried: dict[str, list[str]] = {}
    for alias, number in registered_model(client, model_name).aliases.items():
        carried.setdefault(str(number), []).append(alias)
    found: list[Any] = []
    page = client.search_model_versions(f"name = '{model_name}'", max_results=1000)
    while True:
        found.extend(page)
        if not page.token:
            break
        page = client.search_model_versions(f"name = '{model_name}'", max_results=1000, page_token=page.token)
    versions = [
        Version(
            number=str(each.version),
            made=in_utc(datetime.fromtimestamp(each.creation_timestamp / 1000, UTC)),
            aliases=tuple(sorted(carried.get(str(each.version), []))),
            tags=dict(each.tags),
            description=each.description or "",
            run_id=each.run_id or None,
            source=each.source,
        )
        for each in found
    ]
    return sorted(versions, key=lambda each: -int(each.number))


def find_version(client: Any, model_name: str, wanted: str) -> Version:
    """The version with a number or an alias.

    Raises
    ------
    RegistryError : the registry has no such model
    ConfigError : the model has no such version
    """
    versions = all_versions(client, model_name)
    for each in versions:
        if wanted == each.number or wanted in each.aliases:
            return each
    numbers = ", ".join(each.number for each in versions[:10]) + (", …" if len(versions) > 10 else "")
    aliases = ", ".join(sorted(alias for each in versions for alias in each.aliases))
    raise ConfigError(
        f"{model_name} has no version {wanted!r}",
        expected=f"a number ({numbers or 'there are none yet'})" + (f" or an alias ({aliases})" if aliases else ""),
        todo="`vecmill registry list` shows all versions",
    )


def same_recipe(versions: Sequence[Version], numbers: Sequence[str]) -> list[str]:
    """Numbers of further trainings of the recipes of some versions, newest first; copies of vectors count once.

    Parameters
    ----------
    versions : as :func:`all_versions` gives them
    numbers : the versions whose recipes are meant; they themselves are left out
    """
    meant = [each for each in versions if each.number in numbers]
    recipes = {each.tags[_RECIPE_TAG] for each in meant if _RECIPE_TAG in each.tags}
    seen = {each.tags.get(_SPACE_TAG) for each in meant}
    found = []
    for each in versions:
        space = each.tags.get(_SPACE_TAG)
        if each.tags.get(_RECIPE_TAG) in recipes and space is not None and space not in seen:
            found.append(each.number)
            seen.add(space)
    return found


def registered_model(client: Any, model_name: str) -> Any:
    """MLflow's own record of a registered model.

    Raises
    ------
    RegistryError : the registry has no such model
    """
    from mlflow.exceptions import MlflowException

    try:
        return client.get_registered_model(model_name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
    others = sorted(each.name for each in client.search_registered_models(max_results=20))
    raise RegistryError(
        f"the registry has no model {model_name!r}",
        expected=f"one of {', '.join(others)}" if others else "a model; none has been registered yet",
        todo="run a pipeline first, or name another with --set registry.model_name=NAME",
    )


def ledger_rows(client: Any, model_name: str) -> tuple[str | None, list[Row], list[str]]:
    """The run that holds the model's ledger (None if there is none), its rows, and what is wrong with them."""
    run_id = find_ledger(client, model_name)
    if run_id is None:
        return None, [], []
    rows, problems = read_rows(client.get_run(run_id).data.params)
    return run_id, rows, problems


def reigns(rows: Sequence[Row]) -> list[Reign]:
    """Who was champion from when to when, in order."""
    moves = [(why, row) for why, row in changes(rows) if CHAMPION in why.moves]
    # A champion that was made champion again began no new time.
    moves = [
        (why, row) for at, (why, row) in enumerate(moves) if at == 0 or why.moves[CHAMPION][1] != _before(moves, at)
    ]
    return [
        Reign(
            version=why.moves[CHAMPION][1],
            since=row.time,
            until=end[1].time if end else None,
            row=why,
            ended_unseen=end is not None and end[0].kind == FOUND,
        )
        for (why, row), end in zip(moves, [*moves[1:], None], strict=False)
    ]


def champion_at(rows: Sequence[Row], moment: str) -> Reign | None:
    """The reign that covers a moment (as rows have times), None if the ledger does not reach back so far."""
    found = [each for each in reigns(rows) if each.since <= moment]
    return found[-1] if found else None


def previous_champion(rows: Sequence[Row], standing: Sequence[str]) -> str | None:
    """The last champion before the present one among the versions that still stand; None if there is none."""
    now = aliases_after(rows).get(CHAMPION)
    for each in reversed(reigns(rows)):
        if each.version is not None and each.version != now and each.version in standing:
            return each.version
    return None


def read_moment(text: str) -> str:
    """A moment as people write it, as rows have it.

    A date stands for its last moment, so that a change of that day counts; a time without a zone is UTC.

    >>> read_moment("2026-03-01"), read_moment("2026-03-01T06:30+01:00")
    ('2026-03-01T23:59:59.999Z', '2026-03-01T05:30:00.000Z')

    Raises
    ------
    ConfigError : it is neither a date nor a time
    """
    try:
        if len(text) <= len("2026-03-01"):
            day = datetime.combine(date.fromisoformat(text), time(), UTC)
            return in_utc(day + timedelta(days=1) - timedelta(milliseconds=1))
        return in_utc(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise ConfigError(
            f"{text!r} is no time",
            expected="2026-03-01 or 2026-03-01T06:30 (UTC), or with a zone, as in 2026-03-01T06:30+01:00",
        ) from None


def past_moment(text: str, now: str) -> str:
    """The same for a question about the past: today stands for now.

    Raises
    ------
    ConfigError : it is no time, or has not come yet
    """
    moment = read_moment(text)
    if moment <= now:
        return moment
    if text.strip() == now[:10]:
        return now
    raise ConfigError(
        f"{text!r} has not come yet: it is {now[:16]}Z",
        expected="a time that has passed",
        todo="leave --at out to see who is champion now",
    )


def verify(client: Any, model_name: str, digest: str = "") -> tuple[list[Row], list[str]]:
    """Check the ledger against itself, against the registry, and against a digest kept elsewhere.

    Parameters
    ----------
    digest : of a row, at least 8 hex digits; as ``registration.json`` of a register artifact keeps it. Empty: none

    Returns
    -------
    The rows that can be read, and a sentence for everything that is wrong.
    """
    model = registered_model(client, model_name)
    run_id, rows, problems = ledger_rows(client, model_name)
    if run_id is None:
        if digest:
            problems.append(f"there is no ledger, so no row with the digest {digest}")
        return rows, problems
    run = client.get_run(run_id)
    if run.info.lifecycle_stage != "active":
        problems.append(f"the run {run_id} that holds the ledger has been deleted; restore it in MLflow")
    if run.data.tags.get(OF_TAG) != model_name:
        problems.append(f"the run {run_id} is not the ledger of {model_name}")
    problems += head_problems(run_id, rows, model.tags.get(HEAD_TAG, ""))
    problems += _other_chains(client, model_name, run_id, run.info.experiment_id)
    if digest and not any(row.digest.startswith(digest.lower()) for row in rows):
        problems.append(f"no row has the digest {digest}; the chain is not the one that it was taken from")
    pending = open_intent(rows)
    if pending is not None:
        problems.append(
            f"row {pending.n} (version {pending.version}, {pending.verdict}) was begun and not finished; "
            "the next run, or `vecmill registry verify --repair`, finishes it"
        )
    else:
        for alias, (said, stands) in drift(rows, registered_aliases(client, model_name)).items():
            problems.append(
                f"{alias} is {_named(stands)}, while the ledger says {_named(said)}: moved past vecmill; "
                "the next run writes it down"
            )
    return rows, problems


def _other_chains(client: Any, model_name: str, run_id: str, experiment_id: str) -> list[str]:
    """Runs that hold rows for the same model and were not replaced by a new ledger."""
    problems = []
    claimed = claimed_ledger(client, model_name)
    if claimed and claimed != run_id and REPLACED_TAG not in client.get_run(claimed).data.tags:
        problems.append(
            f"the tag {RUN_TAG} names run {run_id}, while the run of the oldest version names {claimed}: "
            "somebody put another ledger in place"
        )
    found = client.search_runs([experiment_id], filter_string=f"tags.`{OF_TAG}` = '{model_name}'", max_results=100)
    for run in found:
        other, replaced = run.info.run_id, REPLACED_TAG in run.data.tags
        if other not in (run_id, claimed) and not replaced and "row.000001" in run.data.params:
            problems.append(f"run {other} holds a second chain for {model_name}; the one in use is run {run_id}")
    return problems


def _before(moves: Sequence[tuple[Row, Row]], at: int) -> str | None:
    return moves[at - 1][0].moves[CHAMPION][1]


def _named(version: str | None) -> str:
    return "carried by no version" if version is None else f"version {version}"


def champion_answer(rows: Sequence[Row], standing: str | None, moment: str | None) -> dict[str, Any]:
    """Who is champion, or was at a moment, as plain values.

    Parameters
    ----------
    standing : the version that carries the alias now
    moment : as rows have times; None: now

    Returns
    -------
    ``version`` (None where there is none, or the ledger does not know), ``at``, ``since``, ``until``, ``reason`` (why
    it became champion, or why there is no answer), ``uncertain`` (a sentence where the answer may be wrong, else empty)
    """
    reign = champion_at(rows, moment or utc_now())
    answer: dict[str, Any] = {
        "version": None,
        "at": moment,
        "since": None,
        "until": None,
        "reason": "",
        "uncertain": "",
    }
    if moment is None and (reign is None or reign.version != standing):
        # The alias is what loads; how it came there the ledger does not know (yet).
        unseen = "the ledger does not know since when" if standing else "the alias is set on no version"
        return answer | {"version": standing, "reason": unseen}
    if reign is None:
        begins = f"its ledger begins at {rows[0].time}" if rows else "it has no ledger yet"
        return answer | {"reason": f"nobody knows, {begins}"}
    answer |= {"version": reign.version, "since": reign.since, "until": reign.until, "reason": reign.row.reason}
    if reign.ended_unseen:
        answer["uncertain"] = (
            f"the alias was moved past vecmill some time before {reign.until}, so this champion may have ended earlier"
        )
    elif reign.row.kind == FOUND and reign.since == rows[0].time:
        answer["uncertain"] = f"it was champion already when the ledger began, at {reign.since}"
    return answer
