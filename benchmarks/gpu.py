"""A GPU fed from a store: right values, resuming, patches a second, and what a training waits.

    python -m benchmarks.gpu [--device cuda] [--patches 4096] [--out FOLDER]

This stands alone, for a machine that was just started: it makes its own store of random pixels and
needs NumPy, torch, pyarrow, lmdb, safetensors, xxhash and zstandard, none of what reads GeoTIFFs.
With ``--device cpu`` the same code runs without a GPU, to see that it works; its times say nothing.

Everything is compared before anything is timed. Contestants take turns, and each begins a round
once.
"""

import argparse
import sys
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader

from benchmarks.machine import machine, versions
from benchmarks.report import Section, markdown, write_json
from benchmarks.tree import REPOSITORY, S2_BANDS
from patchpress import (
    PatchDataset,
    PatchLoader,
    Statistics,
    index,
    normalize,
    open_store,
    to_device,
)
from patchpress.converter.descriptions.parse import find_description
from patchpress.readers.format.record import encode
from patchpress.readers.statistics import PERCENTILES, BandStatistics

SHAPE = (12, 120, 120)
CLASSES = 19
Batches = Callable[[], Iterable[Any]]
"""What gives the batches (image, label) of one epoch, on the device and normalised."""


# ---------------------------------------------------------------- the store


def make_store(folder: Path, patches: int) -> Path:
    """Write random patches to an LMDB and let `patchpress index` make a store of it."""
    import lmdb
    import pyarrow as pa
    import pyarrow.parquet as pq

    _tell_version(folder)
    store = folder / "random.store"
    store.mkdir()
    random = np.random.default_rng(0)
    keys = [
        f"S2A_MSIL2A_20170613T101031_N9999_R022_T33UUP_{k // 100:02d}_{k % 100:02d}"
        for k in range(patches)
    ]
    environment = lmdb.open(str(store), map_size=patches * 400_000 + (64 << 20), sync=False)
    for first in range(0, patches, 256):
        with environment.begin(write=True) as transaction:
            for key in keys[first : first + 256]:
                pixels = random.integers(0, 10_000, SHAPE, np.uint16)
                value = encode({"s2": pixels}, {"bands": ",".join(S2_BANDS)})
                transaction.put(key.encode(), value)
    environment.sync(True)
    environment.close()
    names = find_description("bigearthnet-v2").classes["labels"]
    labels = [[names[k % CLASSES], names[(7 * k + 3) % CLASSES]] for k in range(patches)]
    table = pa.table(
        {
            "patch_id": keys,
            "labels": [sorted(set(some)) for some in labels],
            "split": ["train"] * patches,
            "country": ["Austria"] * patches,
            "s1_name": [f"S1A_IW_GRDH_1SDV_20170613T165043_33UUP_{key[-5:]}" for key in keys],
            "s2v1_name": [f"S2A_MSIL2A_20170613T101031_{key[-5:]}" for key in keys],
            "contains_seasonal_snow": [False] * patches,
            "contains_cloud_or_shadow": [False] * patches,
        }
    )
    pq.write_table(table, folder / "metadata.parquet")
    index(store, dataset="bigearthnet-v2", paths={"metadata": folder / "metadata.parquet"})
    return store


def _tell_version(folder: Path) -> None:
    """A checkout that was never installed has no version, which every manifest states."""
    try:
        version("patchpress")
    except PackageNotFoundError:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        info = folder / "patchpress.dist-info"
        info.mkdir()
        lines = "Metadata-Version: 2.1", "Name: patchpress", f"Version: {project['version']}", ""
        (info / "METADATA").write_text("\n".join(lines))
        sys.path.append(str(folder))


def made_up_statistics() -> Statistics:
    """Statistics that differ from band to band."""
    ranks = tuple(float(percentile) for percentile in PERCENTILES)
    bands = tuple(
        BandStatistics(name, 1, 0, 5000.0 + 10 * k, 2900.0 + k, 0.0, 10_000.0, ranks)
        for k, name in enumerate(S2_BANDS)
    )
    return Statistics("s2", "train", 1, bands)


# ---------------------------------------------------------------- right values


def check_values(store: Path, statistics: Statistics, device: torch.device, batch: int) -> str:
    """Every batch of an epoch equals that of the CPU, held to the end; memory is used again."""
    checked, worst = 0, 0.0
    for pinned in (None, False) if device.type == "cuda" else (None,):
        loader = PatchLoader(
            str(store), batch_size=batch, shuffle=True, seed=3, with_key=True, pin_memory=pinned
        )
        ours = to_device(loader, device, statistics)
        held = list(islice(ours, 4))  # on the device, while its memory on the host is filled again
        stored = open_store(store)
        samples = loader.samples
        position = {key: k for k, key in enumerate(samples.keys(range(len(samples))))}
        loader.set_epoch(0)
        for number, (image, label, keys) in enumerate(ours):
            found = (held[number] if number < len(held) else (image, label, keys))[0].cpu()
            pixels = torch.from_numpy(np.stack([stored.read(key) for key in keys]))
            wanted = normalize(pixels, statistics)
            worst = max(worst, float((found - wanted).abs().max()))
            assert torch.allclose(found, wanted, rtol=1e-6, atol=1e-6)
            rows = samples.read([position[key] for key in keys])
            assert np.array_equal(label.cpu().numpy(), rows["label"])
            checked += len(keys)
    assert checked == len(samples) * (2 if device.type == "cuda" else 1)
    return f"{checked:,} patches equal those of Store.read, normalised (at most {worst:.1e} apart)"


def check_copies(store: Path, device: torch.device, batch: int) -> str:
    """A user's own copy that does not wait: its source must not be filled before it ends."""
    loader = PatchLoader(str(store), batch_size=batch, shuffle=True, seed=5, target=None)
    busy = torch.randn(4096, 4096, device=device) if device.type == "cuda" else None
    copies = []
    for image in islice(loader, 12):
        if busy is not None:
            for _ in range(20):  # so that the copy has to queue
                busy = busy @ busy * 1e-3
        copies.append(image.to(device, non_blocking=True))
        del image
    loader.set_epoch(0)
    for image, copied in zip(loader, copies, strict=False):
        assert torch.equal(image, copied.cpu())
    return f"{len(copies)} batches copied without waiting are what they were"


def check_resume(store: Path, statistics: Statistics, device: torch.device, batch: int) -> str:
    """A state taken inside the loop goes on with the batch after the one in hand."""

    def batches() -> Any:
        loader = PatchLoader(
            str(store), batch_size=batch, shuffle=True, seed=1, with_key=True, target=None
        )
        return to_device(loader, device, statistics)

    whole = [keys for _, keys in batches()]
    stops = sorted({1, 2, len(whole) // 2, len(whole) - 1})
    for stop in stops:
        first = batches()
        for number, (_, keys) in enumerate(first, 1):
            assert keys == whole[number - 1]
            if number == stop:
                state = first.state_dict()
                break
        again = batches()
        again.load_state_dict(state)
        assert [keys for _, keys in again] == whole[stop:], f"after {stop} of {len(whole)}"
    return f"states after {', '.join(map(str, stops))} of {len(whole)} batches go on exactly"


# ---------------------------------------------------------------- contestants


@dataclass(frozen=True)
class Contestant:
    """Something that brings normalised batches to the device."""

    name: str
    note: str
    batches: Batches


def contestants(
    store: Path, statistics: Statistics, device: torch.device, batch: int, workers: int
) -> list[Contestant]:
    """Ours, and the usual ways: all give (image float32 normalised, label) on the device."""
    gpu = device.type == "cuda"

    def stock(collate: bool) -> Batches:
        data = PatchDataset(str(store), dtype=None)
        loader = DataLoader(
            data,
            batch,
            shuffle=True,
            drop_last=True,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=gpu,
            collate_fn=data.collate if collate else None,
        )

        def epoch() -> Iterator[Any]:
            for image, label in loader:
                moved = image.to(device, non_blocking=True)
                yield normalize(moved, statistics), label.to(device, non_blocking=True)

        return epoch

    def ours(**options: Any) -> Any:
        return PatchLoader(
            str(store), batch_size=batch, shuffle=True, drop_last=True, seed=0, **options
        )

    def waiting() -> Iterator[Any]:
        for image, label in pageable:
            yield normalize(image.to(device), statistics), label.to(device)

    pageable = ours(pin_memory=False)
    fed = to_device(ours(), device, statistics)
    four = to_device(ours(threads=4, ahead=3), device, statistics)
    return [
        Contestant("bare pinned copy", "one batch again and again, cast", _copies(device, batch)),
        Contestant("to_device(PatchLoader)", "2 threads", lambda: fed),
        Contestant("to_device(PatchLoader), 4 threads", "ahead=3", lambda: four),
        Contestant("PatchLoader, image.to(device)", "pageable memory, waits", waiting),
        Contestant(
            "stock DataLoader, data.collate",
            f"{workers} workers, pin_memory={gpu}, normalised on the device",
            stock(collate=True),
        ),
        Contestant(
            "stock DataLoader, default collate",
            f"{workers} workers, pin_memory={gpu}, normalised on the device",
            stock(collate=False),
        ),
    ]


def _copies(device: torch.device, batch: int) -> Batches:
    """The limit: nothing is read."""
    pixels = torch.zeros((batch, *SHAPE), dtype=torch.uint16)
    pixels = pixels.pin_memory() if device.type == "cuda" else pixels
    label = torch.zeros((batch, CLASSES), device=device)

    def epoch() -> Iterator[Any]:
        while True:
            yield pixels.to(device, non_blocking=True).to(torch.float32), label

    return epoch


def wait_for(device: torch.device) -> None:
    """Let the device end what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def endless(batches: Batches) -> Iterator[Any]:
    """One epoch after the other."""
    while True:
        yield from batches()


def rate_of(one: Contestant, device: torch.device, batch: int, seconds: float) -> float:
    """Patches a second, after a few batches that are not counted."""
    passing = endless(one.batches)
    for _ in islice(passing, 6):
        pass
    wait_for(device)
    begun, count = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        next(passing)
        count += batch
        if device.type == "cuda" and not count % (8 * batch):
            torch.cuda.synchronize(device)  # else the bare copy runs ahead without an end
    wait_for(device)
    return count / (time.perf_counter() - begun)


# ---------------------------------------------------------------- a training


class Block(nn.Module):
    """A bottleneck of ResNet-50: 1 x 1, 3 x 3, 1 x 1, and the way round them."""

    def __init__(self, inside: int, width: int, stride: int) -> None:
        super().__init__()
        self.way = nn.Sequential(
            nn.Conv2d(inside, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(True),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width),
            nn.ReLU(True),
            nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width),
        )  # fmt: skip
        self.round: nn.Module = nn.Identity()
        if stride > 1 or inside != 4 * width:
            self.round = nn.Sequential(
                nn.Conv2d(inside, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
            )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Both ways, added."""
        return torch.relu(self.way(image) + self.round(image))


def resnet50(bands: int, classes: int) -> nn.Module:
    """ResNet-50 (He et al. 2015, arXiv:1512.03385, table 1) over any number of bands."""
    layers: list[nn.Module] = [
        nn.Conv2d(bands, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(True),
        nn.MaxPool2d(3, 2, 1),
    ]  # fmt: skip
    inside = 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            layers.append(Block(inside, width, stride if number == 0 else 1))
            inside = 4 * width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, classes))


class Training:
    """Steps of a ResNet-50 in bfloat16, channels last."""

    def __init__(self, device: torch.device) -> None:
        torch.manual_seed(0)
        self.device = device
        self.model = resnet50(SHAPE[0], CLASSES).to(device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.SGD(self.model.parameters(), 0.01, momentum=0.9)
        self.loss = nn.BCEWithLogitsLoss()

    def step(self, image: torch.Tensor, label: torch.Tensor) -> None:
        """Forward, backward, update."""
        image = image.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            loss = self.loss(self.model(image), label)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()

    def time(self, batches: Batches, seconds: float) -> tuple[float, float]:
        """(seconds a step, seconds of it in which the loop waited for its batch)."""
        passing = endless(batches)
        for image, label in islice(passing, 4):
            self.step(image, label)
        wait_for(self.device)
        begun, waited, steps = time.perf_counter(), 0.0, 0
        while time.perf_counter() - begun < seconds or not steps:
            before = time.perf_counter()
            image, label = next(passing)
            waited += time.perf_counter() - before
            self.step(image, label)
            steps += 1
            wait_for(self.device)  # as a loop does that logs its loss
        return (time.perf_counter() - begun) / steps, waited / steps


def resident(device: torch.device, batch: int) -> Batches:
    """A batch that is on the device already: a step that waits for nothing."""
    image = torch.randn((batch, *SHAPE), device=device)
    label = (torch.rand((batch, CLASSES), device=device) < 0.1).float()

    def epoch() -> Iterator[Any]:
        while True:
            yield image, label

    return epoch


# ---------------------------------------------------------------- all of it


def compare(store: Path, statistics: Statistics, device: torch.device, batch: int) -> list[str]:
    """Give one line a check; a wrong value ends the run."""
    lines = []
    checks: tuple[Callable[[], str], ...] = (
        lambda: check_values(store, statistics, device, batch),
        lambda: check_copies(store, device, batch),
        lambda: check_resume(store, statistics, device, batch),
    )
    for check in checks:
        lines.append(check())
        print(f"right: {lines[-1]}", flush=True)
    return lines


def time_feeding(
    racers: list[Contestant], device: torch.device, batch: int, rounds: int, seconds: float
) -> Section:
    """Patches a second of every contestant, in turns."""
    rates: dict[str, list[float]] = {one.name: [] for one in racers}
    for turn in range(rounds):
        for k in range(len(racers)):
            one = racers[(turn + k) % len(racers)]
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
    return Section(
        "gpu",
        f"Feeding the {name_of(device)}, batches of {batch}, {rounds} rounds of {seconds} s",
        ("From the page cache to normalised float32 on the device, whole epochs in random order.",),
        ("feed", "patches/s", "of the bare copy", "best - worst", "note"),
        rows,
        tuple({"name": name, "rates": some} for name, some in rates.items()),
    )


def time_training(
    racers: list[Contestant], device: torch.device, batch: int, rounds: int, seconds: float
) -> Section:
    """What a step of a training takes with every contestant, in turns."""
    training = Training(device)
    resting = Contestant("batch on the device", "waits for nothing", resident(device, batch))
    racers = [resting, *racers]
    taken: dict[str, list[tuple[float, float]]] = {one.name: [] for one in racers}
    for turn in range(rounds):
        for k in range(len(racers)):
            one = racers[(turn + k) % len(racers)]
            taken[one.name].append(training.time(one.batches, seconds))
    rows = []
    for one in racers:
        step = median(step for step, _ in taken[one.name])
        waited = median(waited for _, waited in taken[one.name])
        cells = f"{step * 1e3:.2f}", f"{waited * 1e3:.2f}", f"{waited / step:.1%}"
        rows.append((one.name, *cells, f"{batch / step:,.0f}"))
    return Section(
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
        racers = contestants(store, statistics, device, args.batch, args.workers)
        options = device, args.batch, args.rounds, args.seconds
        sections = [time_feeding(racers, *options)]
        print(markdown(sections[0]), flush=True)
        sections.append(time_training([*racers[1:3], racers[4]], *options))
        print(markdown(sections[1]), flush=True)
        write_json(args.out / "gpu.json", facts, sections)


if __name__ == "__main__":
    main()
