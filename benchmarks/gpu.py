"""How fast a GPU trains words, and what its settings give beside the processor's trainer.

    python benchmarks/gpu.py --quick | --full [--kinds skipgram cbow …] [--seeds 3] [--part P] [--epochs N] [--write]
                             [--set block_words=8192] [--report]

Speed: kept words a second of whole epochs on the GPU, after one epoch to warm up; "not measured here" where there is
none. A kept word is one that sub-sampling leaves. Quality: Spearman correlations on WordSim-353, SimLex-999, MEN and
Rare Words, and the loss of half a percent of the reviews held out, of the processor's trainer (one thread) and of
blocks with the same settings as the speed. Without a GPU the blocks are trained on the processor, which does the same
arithmetic. The difference is given in standard deviations of the processor's seeds.

The last line is RESULT and one JSON object: ``gpu`` (its name, or "not measured here"), ``kept_words_per_second``, and
for each kind the scores of both and ``difference_sd`` (of the mean of the four tests). With ``--write`` each training
is kept in results/gpu.json at once, and one that stands there with the same code is not repeated; ``--report`` trains
nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from reviews import Corpus, read_corpus

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks/results/gpu.json"
SIMILARITY = {"wordsim353": "WordSim-353", "simlex999": "SimLex-999", "men": "MEN", "rw": "Rare Words"}
SIZES = {"quick": {"part": 0.05, "epochs": 1, "seeds": 1}, "full": {"part": 1.0, "epochs": 5, "seeds": 3}}
HELD_OUT = 0.005
_TRAINERS = ("vecmill.words.trainer:train_vectors", "vecmill.words.subword_trainer:train_subword_vectors")
_SUBWORDS = ("subword_skipgram", "subword_cbow")
KINDS = ("skipgram", "cbow", *_SUBWORDS)
NOT_MEASURED = "not measured here"


def section(kind: str, epochs: int, gpu: dict[str, Any]) -> Any:
    from pydantic import TypeAdapter

    from vecmill.words.kinds import WordsTrainConfig

    told = {"kind": kind, "epochs": epochs, "threads": 1, "heldout_share": HELD_OUT, "gpu": gpu}
    return TypeAdapter(WordsTrainConfig).validate_python(told)


def train(corpus: Corpus, config: Any, seed: int, device: Any) -> dict[str, Any]:
    """Train on the processor's own trainer (device None) or in blocks on a device of torch; returns figures."""
    from vecmill.evaluation.benchmarks import load_benchmark
    from vecmill.evaluation.similarity import word_similarity
    from vecmill.gpu.epochs import Blocks
    from vecmill.vectors.word_vectors import WordVectors
    from vecmill.words.heldout import measure_heldout
    from vecmill.words.subword_trainer import OtherWay, train_subword_vectors
    from vecmill.words.trainer import checkpoints_of, prepared_run, train_run, train_vectors

    arrays = corpus.token_ids, corpus.sentence_offsets, corpus.counts
    began = time.process_time()
    training: Any
    if config.kind in _SUBWORDS:
        way = OtherWay(lambda run: Blocks(run, config.gpu, device), np.empty(0, np.uint8)) if device else None
        training = train_subword_vectors(*arrays[:2], corpus.words, corpus.counts, config, seed=seed, way=way)
    elif device is None:
        training = train_vectors(*arrays, config, seed=seed)
    else:
        run = prepared_run(*arrays, config, seed=seed)
        nowhere = checkpoints_of(run, corpus.counts, None)
        training = train_run(run, lambda: Blocks(run, config.gpu, device), nowhere, measure_heldout)
    vectors = (
        training.vectors.word_vectors()
        if config.kind in _SUBWORDS
        else WordVectors(corpus.words, np.ascontiguousarray(training.center_vectors))
    )
    scores = {name: word_similarity(vectors, load_benchmark(name), n_resamples=10).spearman for name in SIMILARITY}
    return {
        "scores": {name: round(float(score or 0), 5) for name, score in scores.items()},
        "loss": round(training.epochs[-1].loss, 5),
        "heldout_loss": round(float(training.epochs[-1].heldout_loss or 0), 5),
        "processor_seconds": round(time.process_time() - began, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def speed(corpus: Corpus, config: Any, device: Any) -> float:
    """Kept words a second of the second epoch on a GPU."""
    import torch

    from vecmill.gpu.epochs import Blocks
    from vecmill.kernels.sampling import keep_probabilities
    from vecmill.progress import track
    from vecmill.words.progress_state import EpochResult, Progress
    from vecmill.words.trainer import prepared_run

    run = prepared_run(corpus.token_ids, corpus.sentence_offsets, corpus.counts, config, seed=1)
    progress, seconds = Progress(), 0.0
    with Blocks(run, config.gpu, device) as blocks, track("training", 2 * run.n_tokens, "tokens") as bar:
        for _ in range(2):
            torch.cuda.synchronize(device)
            began = time.perf_counter()
            blocks.advance(progress, bar, lambda: False)
            torch.cuda.synchronize(device)
            seconds = time.perf_counter() - began
            progress.finish_epoch(EpochResult(0.0, progress.n_pairs, 0.0))
    return float(corpus.counts @ keep_probabilities(corpus.counts, config.sample)) / seconds


def find(runs: list[dict[str, Any]], place: dict[str, Any]) -> dict[str, Any] | None:
    return next((each for each in runs if {name: each.get(name) for name in place} == place), None)


def measure(runs: list[dict[str, Any]], options: argparse.Namespace, gpu: dict[str, Any]) -> dict[str, Any]:
    """Means and standard deviations over seeds of what stands there, and how far the blocks are from the processor."""
    found: dict[str, Any] = {}
    for kind in options.kinds:
        sides = {}
        for side in ("processor", "blocks"):
            places = [place_of(options, kind, side, seed, gpu) for seed in range(1, options.seeds + 1)]
            if mine := [each for place in places if (each := find(runs, place))]:
                means = [statistics.mean(each["scores"].values()) for each in mine]
                sides[side] = {
                    "seeds": len(mine),
                    **{name: _mean_and_sd([each["scores"][name] for each in mine]) for name in SIMILARITY},
                    "mean": _mean_and_sd(means),
                    "heldout_loss": _mean_and_sd([each["heldout_loss"] for each in mine]),
                }
        if len(sides) == 2:
            (ours, _), (theirs, sd) = sides["blocks"]["mean"], sides["processor"]["mean"]
            sides["difference"] = round(ours - theirs, 4)
            sides["difference_sd"] = round((ours - theirs) / sd, 2) if sd else None
        found[kind] = sides
    return found


def _mean_and_sd(values: list[float]) -> tuple[float, float]:
    return round(statistics.mean(values), 4), round(statistics.stdev(values), 4) if len(values) > 1 else 0.0


def place_of(options: argparse.Namespace, kind: str, side: str, seed: int, gpu: dict[str, Any]) -> dict[str, Any]:
    place = {"part": options.part, "epochs": options.epochs, "kind": kind, "side": side, "seed": seed}
    return place | ({"gpu": gpu} if side == "blocks" else {})


def render(quality: dict[str, Any], options: argparse.Namespace, gpu: dict[str, Any]) -> str:
    """The correlations as Markdown."""
    share = "" if options.part == 1 else f"every {1 / options.part:.0f}th of the "
    lines = [
        f"{share}reviews, {options.epochs} epochs, 100 dimensions, mean ± standard deviation over seeds".capitalize()
        + "; held-out loss in nats a pair. Settings of the blocks: "
        + ", ".join(f"{name} {value}" for name, value in gpu.items())
        + ".",
        "",
        "| trainer | seeds | WordSim-353 | SimLex-999 | MEN | Rare Words | mean of four | held-out loss |",
        "| --- |" + " ---: |" * (len(SIMILARITY) + 3),
    ]
    for kind, sides in quality.items():
        for side in ("processor", "blocks"):
            if row := sides.get(side):
                shown = " | ".join(
                    f"{row[name][0]:.4f}" + (f" ± {row[name][1]:.4f}" if row["seeds"] > 1 else "")
                    for name in (*SIMILARITY, "mean", "heldout_loss")
                )
                lines.append(f"| {kind}, {side} | {row['seeds']} | {shown} |")
    return "\n".join(lines)


def render_kept(runs: list[dict[str, Any]], options: argparse.Namespace, gpu: dict[str, Any]) -> str:
    """A table for each share of the reviews of which both sides of a kind are kept, the largest first."""
    shown = []
    for part in sorted({each["part"] for each in runs}, reverse=True):
        of_part = argparse.Namespace(**vars(options) | {"part": part, "kinds": KINDS, "seeds": SIZES["full"]["seeds"]})
        quality = {kind: sides for kind, sides in measure(runs, of_part, gpu).items() if "difference" in sides}
        if quality:
            shown.append(render(quality, of_part, gpu))
    return "\n\n".join(shown)


def render_speed(gpu: str, speed: float | str) -> str:
    shown = speed if isinstance(speed, str) else format(speed, ",.0f")
    return f"| GPU | kept words a second |\n| --- | ---: |\n| {gpu} | {shown} |"


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a part of the corpus, one epoch, one seed")
    size.add_argument("--full", action="store_true", help="everything; the default")
    parser.add_argument("--part", type=float, help="share of the reviews, 0-1")
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=["skipgram", "cbow"])
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="settings of train.gpu")
    parser.add_argument("--report", action="store_true", help="train nothing")
    parser.add_argument("--write", action="store_true", help=f"keep the figures in {RESULTS.name}")
    options = parser.parse_args()
    for name, value in SIZES["quick" if options.quick else "full"].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
    told = dict(each.split("=", 1) for each in options.set)
    gpu = section("skipgram", 1, told).gpu.model_dump()
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    torch.set_num_threads(1)  # the blocks' products are small, and the processor's trainer has one thread too
    written: dict[str, Any] = {"runs": []}
    if (options.write or options.report) and RESULTS.exists():
        written = json.loads(RESULTS.read_text(encoding="utf-8"))
    runs: list[dict[str, Any]] = written["runs"]
    words_per_second: Any = NOT_MEASURED
    if not options.report:
        from vecmill.store.closure import code_digest

        codes = {
            "processor": code_digest(_TRAINERS).digest[:16],
            "blocks": code_digest(("vecmill.gpu.epochs:Blocks",)).digest[:16],
        }
        with tempfile.TemporaryDirectory(prefix="vecmill-bench-") as name:
            corpus = read_corpus(Path(name), part=options.part)
            if on_gpu:
                words_per_second = speed(corpus, section("skipgram", 2, gpu), device)
            for seed in range(1, options.seeds + 1):
                for kind in options.kinds:
                    for side in ("processor", "blocks"):
                        place = place_of(options, kind, side, seed, gpu)
                        found = find(runs, place)
                        if found is not None and found["code"] == codes[side]:
                            continue
                        config = section(kind, options.epochs, gpu)
                        made = train(corpus, config, seed, None if side == "processor" else device)
                        print(kind, side, seed, made, flush=True)
                        runs[:] = [each for each in runs if each is not found]
                        runs.append(place | {"code": codes[side]} | made)
                        if options.write:
                            _write(written)
    result = {
        "gpu": torch.cuda.get_device_name() if on_gpu else NOT_MEASURED,
        "kept_words_per_second": words_per_second,
        "settings": gpu,
        "quality": measure(runs, options, gpu),
    }
    if options.report and "measured" in written:
        result |= {name: written["measured"][name] for name in ("gpu", "kept_words_per_second")}
    speed_table = render_speed(result["gpu"], result["kept_words_per_second"])
    if options.write:
        written["measured"] = {name: result[name] for name in ("gpu", "kept_words_per_second")}
        written["table"] = f"{render_kept(runs, options, gpu)}\n\n{speed_table}"
        _write(written)
    print(render(result["quality"], options, gpu), speed_table, sep="\n\n")
    print("RESULT", json.dumps(result))


def _write(written: dict[str, Any]) -> None:
    partial = RESULTS.with_suffix(".partial")
    partial.write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    partial.replace(RESULTS)


if __name__ == "__main__":
    main()
