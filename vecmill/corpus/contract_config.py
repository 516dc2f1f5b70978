"""What can be set about the contract stage, and which file holds the contract."""

from __future__ import annotations

import difflib
from importlib.util import find_spec
from pathlib import Path

from pydantic import Field, FiniteFloat

from vecmill.config.base import NOT_IN_KEY, Config
from vecmill.errors import ConfigError

_PACKAGE = "data_contracts"


class ContractConfig(Config):
    """Which contract the corpus is held against, and what is tolerated."""

    path: str = Field(
        "corpus",
        min_length=1,
        description="Contract file: the name of one that comes with vecmill (`corpus`), or the path of a `.json` file. "
        "Default: the contract for what ingest writes.",
    )
    max_quarantined_frac: float = Field(
        0.05,
        ge=0,
        le=1,
        description="Largest share of documents (0 to 1) that may be quarantined before the run stops. Default: our "
        "choice, one document in twenty.",
    )
    thresholds: dict[str, FiniteFloat] = Field(
        {},
        description="Values that replace thresholds of the contract file, by their name there, e.g. "
        "`min_letter_frac: 0.1`. Default: none are replaced.",
    )
    memory_limit_mb: int = Field(
        512,
        ge=64,
        description="Memory that DuckDB may use for the checks (MB of 10^6 bytes); beyond it, it spills to temporary "
        "files. On a Ray cluster each piece has this much, and Ray keeps it free for it. Default: our "
        "choice; 100,000 reviews with 130 million characters need less than half of it.",
        json_schema_extra=NOT_IN_KEY,
    )


def contract_file(config: ContractConfig) -> Path:
    """The contract file that a configuration names.

    Raises
    ------
    ConfigError : there is no such file
    """
    if config.path.endswith(".json"):
        path = Path(config.path)
        if not path.is_file():
            raise ConfigError(
                f"contract.path = {config.path!r}: there is no such file (looked for {path.absolute()})",
                todo="correct the path; `corpus` names the contract that comes with vecmill",
            )
        return path
    folder = _bundled_folder()
    path = folder / f"{config.path}.json"
    names = sorted(each.stem for each in folder.glob("*.json"))
    if config.path not in names:
        nearest = difflib.get_close_matches(config.path, names, n=1)
        raise ConfigError(
            f"contract.path = {config.path!r} names no contract that comes with vecmill",
            expected=f"one of {', '.join(names)}, or the path of a .json file",
            todo=f"did you mean {nearest[0]!r}?" if nearest else "correct the name, or add .json to a path",
        )
    return path


def contract_files(config: ContractConfig) -> list[Path]:
    """Files whose content the contract stage depends on; their digests belong into the artifact's key.

    Raises
    ------
    ConfigError : the configuration names a file that does not exist
    """
    return [contract_file(config)]


def _bundled_folder() -> Path:
    # Located, not imported: the folder holds data, and the library imports nothing from outside itself.
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            f"the package {_PACKAGE!r} with the contract files is not installed",
            todo="install vecmill again (`pip install .`), or set contract.path to a contract file",
        )
    return Path(next(iter(spec.submodule_search_locations)))
