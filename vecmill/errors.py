"""What vecmill refuses, as a small tree of exceptions.

    VecmillError                exit code 1: something broke (a fault)
    ├── StoreError              an artifact cannot be read, written or trusted
    │   ├── StorageFull         the disk (or quota) ran out while writing
    │   └── StoreUnavailable    a remote store did not answer; it may when asked again
    ├── SourceUnavailable       a source of text did not answer; it may when asked again
    ├── RegistryError           the model registry did not answer, or refused
    ├── NodesLost               machines of a cluster were lost under a stage, again and again
    ├── TrainingDiverged        the loss or a vector became NaN or infinite
    └── UserError               exit code 2: the input or the configuration needs a change
        ├── ConfigError         a key, value or name in the configuration
        ├── SourceError         a source of text: missing, unreadable, empty, malformed
        ├── ContractViolation   too many rows break their data contract
        ├── VocabularyError     nothing (or nothing usable) is left to train on
        ├── EngineError         the machines that stages should run on: missing, unlike this one, without the store
        ├── FormatError         a file of vectors or ratings is not what it claims to be
        └── CredentialsError    a remote store refused us, or had nothing to identify us by

Every message has three parts: what was found and where, what was expected, what to do about it.
"""

from __future__ import annotations


class VecmillError(Exception):
    """A fault with a message made for the person who has to act on it.

    Parameters
    ----------
    found : what was found, with its name, value and place
    expected : what should have been there; may be empty where ``found`` says it already
    todo : the next thing to do, as an instruction
    """

    exit_code = 1

    def __init__(self, found: str, *, expected: str = "", todo: str = "") -> None:
        self.found = found
        self.expected = expected
        self.todo = todo
        super().__init__(str(self))

    def __str__(self) -> str:
        parts = [self.found.rstrip(".")]
        if self.expected:
            parts.append(f"Expected: {self.expected.rstrip('.')}")
        if self.todo:
            parts.append(f"What to do: {self.todo.rstrip('.')}")
        text = ". ".join(parts)
        return text if text.endswith(("?", "!")) else f"{text}."

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross process borders (worker pools); keyword-only arguments need this help.
        return _rebuild, (type(self), self.found, self.expected, self.todo)


def _rebuild(kind: type[VecmillError], found: str, expected: str, todo: str) -> VecmillError:
    return kind(found, expected=expected, todo=todo)


class StoreError(VecmillError):
    """An artifact cannot be read, written or trusted."""


class StorageFull(StoreError):
    """The disk, or a quota on it, ran out while an artifact was being written."""


class StoreUnavailable(StoreError):
    """A remote store did not answer; it may when asked again. What lies there is unknown, not gone."""


class SourceUnavailable(VecmillError):
    """A source of text did not answer; it may when asked again."""


class RegistryError(VecmillError):
    """The model registry did not answer, or refused what was asked of it."""


class NodesLost(VecmillError):
    """The machines of a cluster were lost under a stage, again and again."""


class TrainingDiverged(VecmillError):
    """The loss or a vector became NaN or infinite."""


class UserError(VecmillError):
    """The input or the configuration needs a change; running again as it is would fail again."""

    exit_code = 2


class ConfigError(UserError):
    """A key, value or name in the configuration is not one that vecmill knows or can use."""


class SourceError(UserError):
    """A source of text is missing, unreadable, empty or malformed."""


class ContractViolation(UserError):
    """More rows break their data contract than the configuration tolerates."""


class VocabularyError(UserError):
    """Nothing, or nothing usable, is left to train on."""


class EngineError(UserError):
    """The machines that stages should run on are missing, unlike this one, or do not reach the store."""


class FormatError(UserError):
    """A file of vectors, ratings or tokens is not what it claims to be."""


class CredentialsError(UserError):
    """A remote store refused us, or there was nothing to identify us by."""
