"""Write measured figures into README.md and docs/*.md, so that nobody types one by hand.

    python docs/write_figures.py

Reads what the benchmark scripts left in benchmarks/results/ and fills the places marked
`<!-- figure:NAME -->…<!-- /figure -->` and `<!-- table:NAME -->…<!-- /table -->`.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def figures() -> tuple[dict[str, str], dict[str, str]]:
    """Short figures and whole tables, by name."""
    pipeline = json.loads((ROOT / "benchmarks/results/pipeline.json").read_text(encoding="utf-8"))
    result = pipeline["result"]
    short = {
        "demo_minutes": _duration(result["cold_seconds"]),
        "cached_seconds": f"{result['cached_seconds']:.1f} seconds",
    }
    return short, {"pipeline": pipeline["table"].strip()}


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.1f} minutes"


def fill(text: str, short: dict[str, str], tables: dict[str, str]) -> str:
    """Put figures in their places; a place without a figure is an error."""
    text = re.sub(
        r"<!-- figure:(\w+) -->.*?<!-- /figure -->",
        lambda match: f"<!-- figure:{match[1]} -->{short[match[1]]}<!-- /figure -->",
        text,
        flags=re.DOTALL,
    )
    return re.sub(
        r"<!-- table:(\w+) -->.*?<!-- /table -->",
        lambda match: f"<!-- table:{match[1]} -->\n{tables[match[1]]}\n<!-- /table -->",
        text,
        flags=re.DOTALL,
    )


def main() -> None:
    short, tables = figures()
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        before = path.read_text(encoding="utf-8")
        after = fill(before, short, tables)
        if after != before:
            path.write_text(after, encoding="utf-8")


if __name__ == "__main__":
    main()
