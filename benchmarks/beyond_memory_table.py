"""The figures of ``benchmarks/beyond_memory.py`` as Markdown."""

from __future__ import annotations

from typing import Any

N_SHARDS = 20
# Of one Ray worker process, and of a node with all that runs on it and the files that it caches.
BUDGET_BYTES, NODE_BYTES = 1 << 30, 2 << 30
STAGES = ("ingest", "contract", "contamination", "vocabulary", "encode", "train", "evaluate", "register")


def render(parts: dict[str, Any]) -> str:
    """The figures as Markdown."""
    lines: list[str] = []
    if "sizes" in parts:
        lines += _sizes_table(parts["sizes"])
    if "kills" in parts:
        lines += ["", *_kills_table(parts["kills"])]
    return "\n".join(lines)


def _sizes_table(found: dict[str, Any]) -> list[str]:
    half, whole = found["half"], found["whole"]
    held = f", each held by the kernel to {NODE_BYTES / 1e9:.1f} GB with all its processes and the files that it caches"

    def row(title: str, values: tuple[float, float], form: str) -> str:
        return f"| {title} | {values[0]:{form}} | {values[1]:{form}} | {values[1] / values[0]:.2f} |"

    def both(name: str, unit: float = 1.0) -> tuple[float, float]:
        return half[name] / unit, whole[name] / unit

    nodes = (max(half["node_peaks"]) / 1e6, max(whole["node_peaks"]) / 1e6)
    lines = [
        f"{N_SHARDS} shards of generated text, two Ray nodes of one core{held if found['limited'] else ''}; skip-gram "
        f"of 64 dimensions, one epoch. Load before: {found['load_before']}.",
        "",
        "| | half of it | all | ratio |",
        "| --- | ---: | ---: | ---: |",
        row("text, MB", both("n_chars", 1e6), ",.0f"),
        row("words trained on, million", both("n_tokens", 1e6), ".1f"),
        row("**wall time of the run, s**", both("seconds"), ".0f"),
        row("processor time of the nodes, s", both("processor_seconds"), ".0f"),
    ]
    for stage in STAGES:
        seconds = (half["stage_seconds"][stage], whole["stage_seconds"][stage])
        lines.append(row(f"`{stage}`, wall time, s", seconds, ".1f"))
    worker = (_peak(half), _peak(whole))
    return [
        *lines,
        row(f"**largest Ray worker, MB** (budget {BUDGET_BYTES / 1e6:,.0f})", worker, ",.0f"),
        row("all processes of a node, MB", nodes, ",.0f"),
        row("token store, MB", both("token_store_bytes", 1e6), ",.0f"),
        row("copies in `store.cache`, MB", both("cache_bytes", 1e6), ",.0f"),
        "",
        f"Of the 10 nearest neighbours of a planted word, {100 * found['neighbours_in_group']:.1f} % are of its group; "
        f"the S3 server held {found['server_peak_bytes'] / 1e6:,.0f} MB at most.",
    ]


def _peak(run: dict[str, Any]) -> float:
    return max(held for held in run["peaks"].values()) / 1e6


def _kills_table(found: dict[str, Any]) -> list[str]:
    unbroken = found["unbroken"]["stage_seconds"]
    lines = [
        f"{found['text_bytes'] / 1e6:,.0f} MB of such text, the driver killed once in each stage:",
        "",
        "| killed in | after | of | stages taken over | pieces of `ingest` | checkpoints |",
        "| --- | ---: | ---: | --- | ---: | --- |",
    ]
    for each in found["kills"]:
        stage, stands = each["stage"], ", ".join(f"`{name}`" for name in each["stands"]) or "none"
        kept = ", ".join(f"`{name}`" for name in each["checkpoints"])
        lines.append(
            f"| `{stage}` | {each['after_seconds']:.1f} s | {unbroken[stage]:.1f} s | {stands} "
            f"| {each['n_pieces']} of {found['n_pieces']} | {kept} |"
        )
    same = sum(found["same_bytes"].values())
    return [
        *lines,
        "",
        f"{same} of {len(found['same_bytes'])} artifacts (all but `register`'s) have the bytes of the unbroken run. "
        f"Training went on from {100 * found['resumed_at_epoch']:.0f} % of its epoch.",
    ]
