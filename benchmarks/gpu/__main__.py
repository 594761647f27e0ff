"""A GPU fed from a store: right values, going on, patches a second, and how long a training waits.

This stands alone, for a machine that was just started: it makes its own store of random pixels and
needs NumPy, torch, pyarrow, lmdb, safetensors, xxhash and zstandard, none of what reads GeoTIFFs.
With ``--device cpu`` the same code runs without a GPU, to see that it works; its times say nothing.

Everything is compared before anything is timed. Contestants take turns.
"""

import argparse
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch

from benchmarks.child import in_turns
from benchmarks.gpu.checks import compare
from benchmarks.gpu.feeding import BatchSource, batch_sources, rate_of, resident
from benchmarks.gpu.store import made_up_statistics, make_store
from benchmarks.gpu.training import Training
from benchmarks.machine import machine, versions
from benchmarks.report import CaseTable, markdown, write_json


def time_feeding(
    racers: list[BatchSource], device: torch.device, batch: int, rounds: int, seconds: float
) -> CaseTable:
    """Measure patches a second of every contestant, in turns."""
    rates: dict[str, list[float]] = {one.name: [] for one in racers}
    for _, one in in_turns(rounds, racers):
        rates[one.name].append(rate_of(one, device, batch, seconds))
    limit = median(rates[racers[0].name])
    rows = tuple(
        (
            one.name,
            f"{median(rates[one.name]):,.0f}",
            f"{median(rates[one.name]) / limit:.2f}",
            f"{max(rates[one.name]):,.0f} - {min(rates[one.name]):,.0f}",
            one.note,
        )
        for one in racers
    )
    return CaseTable(
        "gpu",
        f"Feeding the {name_of(device)}, batches of {batch}, {rounds} rounds of {seconds} s",
        ("From the page cache to normalised float32 on the device, whole epochs in random order.",),
        ("feed", "patches/s", "of the bare copy", "best - worst", "note"),
        rows,
        tuple({"name": name, "rates": some} for name, some in rates.items()),
    )


def time_training(
    racers: list[BatchSource], device: torch.device, batch: int, rounds: int, seconds: float
) -> CaseTable:
    """Measure a training step with every contestant, in turns."""
    training = Training(device)
    resting = BatchSource("batch on the device", "waits for nothing", resident(device, batch))
    racers = [resting, *racers]
    taken: dict[str, list[tuple[float, float]]] = {one.name: [] for one in racers}
    for _, one in in_turns(rounds, racers):
        taken[one.name].append(training.time(one.batches, seconds))
    rows = []
    for one in racers:
        step = median(step for step, _ in taken[one.name])
        waited = median(waited for _, waited in taken[one.name])
        cells = f"{step * 1e3:.2f}", f"{waited * 1e3:.2f}", f"{waited / step:.1%}"
        rows.append((one.name, *cells, f"{batch / step:,.0f}"))
    return CaseTable(
        "gpu-training",
        f"A ResNet-50 step in bfloat16 on the {name_of(device)}, batches of {batch}",
        ("Of 12 bands, 120 x 120 pixels; the loop waits for the GPU after each step.",),
        ("fed by", "ms a step", "ms waiting for data", "of the step", "patches/s"),
        tuple(rows),
        tuple({"name": name, "seconds": some} for name, some in taken.items()),
    )


def name_of(device: torch.device) -> str:
    """What the device is called."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU (no GPU)"


def main() -> None:
    """Make a store, compare, time; tables to stdout, everything to report.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    add = parser.add_argument
    add("--device", default="cuda")
    add("--patches", type=int, default=4096, help="of the store that is made")
    add("--batch", type=int, default=256)
    add("--workers", type=int, default=8, help="of the stock DataLoaders")
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=2.0, help="of each contestant, in each round")
    add("--feeding", action="store_true", help="measure no training")
    add("--out", type=Path, default=Path("bench"), help="where report.json goes")
    args = parser.parse_args()
    device = torch.device(args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"machine": machine(args.out), "versions": versions()}
    facts["device"] = name_of(device)
    for name, known in facts.items():
        print(f"{name}: {known}", flush=True)
    with TemporaryDirectory() as folder:
        begun = time.perf_counter()
        store = make_store(Path(folder), args.patches)
        print(f"store of {args.patches:,} patches in {time.perf_counter() - begun:.1f} s")
        statistics = made_up_statistics()
        facts["compared"] = compare(store, statistics, device, min(args.batch, 64))
        racers = batch_sources(store, statistics, device, args.batch, args.workers)
        options = device, args.batch, args.rounds, args.seconds
        sections = [time_feeding(racers, *options)]
        print(markdown(sections[0]), flush=True)
        if not args.feeding:
            sections.append(time_training([*racers[1:3], racers[4]], *options))
            print(markdown(sections[1]), flush=True)
        write_json(args.out / "gpu.json", facts, sections)


if __name__ == "__main__":
    main()
