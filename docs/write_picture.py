"""Draw docs/images/demo.svg: the last screen of `vecmill run words`, from a real run in a fresh folder.

python docs/write_picture.py
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from vecmill.cli.run import show_summary

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "vecmill", "run", "words", "--json", "--file", str(ROOT / "pipelines.yaml")]
        done = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True)
        summary = json.loads(done.stdout)
        summary["store"] = summary["store"].replace(f"{folder}/", "")
    console = Console(record=True, width=92, force_terminal=True, highlight=False, file=sys.stderr)
    console.print("[bold]$ make demo[/]")
    show_summary(summary, console)
    target = ROOT / "docs/images/demo.svg"
    target.parent.mkdir(parents=True, exist_ok=True)
    drawn = console.export_svg(title="vecmill", unique_id="vecmill-demo")
    # Rich asks a font server for its typeface; the reader's own monospace font will do.
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    target.write_text(drawn, encoding="utf-8")


if __name__ == "__main__":
    main()
