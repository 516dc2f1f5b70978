"""``vecmill report``: the page of a registered version or of an artifact, written to a file."""

from __future__ import annotations

import json as json_module
import re
import sys
import webbrowser
from pathlib import Path

from vecmill.cli.common import stdout_console
from vecmill.errors import ConfigError


def write_report(
    what: str, out: Path | None, registry: tuple[str, Path, list[str]], *, force: bool, show: bool, as_json: bool
) -> None:
    """Write the report of ``what``, an artifact's folder or a version, and print where it is.

    Raises
    ------
    ConfigError : the file stands there already
    """
    if Path(what).is_dir() or "/" in what:
        from vecmill.report.artifact import artifact_report

        page, name = artifact_report(Path(what)), "report.html"
    else:
        from vecmill.cli.registry import open_registry
        from vecmill.registry.history import find_version
        from vecmill.registry.model_report import read_report

        with open_registry(*registry) as found:
            version = find_version(found.client, found.model_name, what)
            page = read_report(found.client, found.model_name, version)
            name = f"{re.sub(r'[^A-Za-z0-9._-]+', '-', found.model_name)}-{version.number}.html"
    path = out or Path(name)
    # A page under its usual name is one that this command wrote earlier.
    if out is not None and path.exists() and not force:
        raise ConfigError(
            f"{path} stands there already", expected="a new path", todo="name another, or replace it with --force"
        )
    path.write_text(page, encoding="utf-8")
    if as_json:
        sys.stdout.write(json_module.dumps({"report": str(path.absolute())}) + "\n")
    else:
        stdout_console().print(f"wrote {path}", soft_wrap=True, markup=False)
    if show:
        webbrowser.open(path.absolute().as_uri())
