"""Write measured figures into README.md and docs/*.md, so that nobody types one by hand.

    python docs/write_figures.py

Reads what the benchmark scripts left in benchmarks/results/ and fills the places marked
`<!-- figure:NAME -->…<!-- /figure -->` and `<!-- table:NAME -->…<!-- /table -->`. A table whose script exists and has
left no result yet stays as it is.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def figures() -> tuple[dict[str, str], dict[str, str]]:
    """Short figures, and the table of each result by the name of its file."""
    results = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((ROOT / "benchmarks/results").glob("*.json"))
    }
    pipeline = results["pipeline"]["result"]
    short = {
        "demo_minutes": _duration(pipeline["cold_seconds"]),
        "cached_seconds": f"{pipeline['cached_seconds']:.1f} seconds",
    }
    return short, {name: result["table"].strip() for name, result in results.items() if "table" in result}


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.1f} minutes"


def fill(text: str, short: dict[str, str], tables: dict[str, str]) -> str:
    """Put figures in their places; a place without a figure is an error, unless it only has not been measured yet."""

    def table(match: re.Match[str]) -> str:
        if match[1] not in tables and (ROOT / f"benchmarks/{match[1]}.py").is_file():
            return match[0]
        return f"<!-- table:{match[1]} -->\n{tables[match[1]]}\n<!-- /table -->"

    text = re.sub(
        r"<!-- figure:(\w+) -->.*?<!-- /figure -->",
        lambda match: f"<!-- figure:{match[1]} -->{short[match[1]]}<!-- /figure -->",
        text,
        flags=re.DOTALL,
    )
    return re.sub(r"<!-- table:(\w+) -->.*?<!-- /table -->", table, text, flags=re.DOTALL)


def main() -> None:
    short, tables = figures()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        before = path.read_text(encoding="utf-8")
        after = fill(before, short, tables)
        if after != before:
            path.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
