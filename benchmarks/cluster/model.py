"""How long a conversion takes on many machines, computed from what a patch costs on one.

Nothing is measured here. Each resource is looked at alone, as if all others were endless; the one
that takes longest decides. Real runs are slower, because resources wait for one another.
"""

from dataclasses import dataclass

from benchmarks.report import CaseTable

US = 1e-6


@dataclass(frozen=True)
class Costs:
    """What was measured on one core of an AMD EPYC; docs/converting.md and docs/cluster.md."""

    encode: float = 690 * US
    """Seconds of CPU for a Sentinel-2 patch with its partners, from folders to a record on disk."""
    encode_bytes: float = 489_976
    """Bytes of its records: what it costs grows with them."""
    walk: float = 13 * US
    """Seconds of the client to list a patch of a folder, before the first task begins."""
    task: float = 1 / 700
    """Seconds of a scheduler for a task (`python -m benchmarks.cluster tasks`)."""
    start: float = 0.6
    """Seconds until a task has begun: it finds the source and opens its tables."""
    row: float = 9 * US
    """Seconds of the client to join the row of a patch and write it."""


@dataclass(frozen=True)
class Work:
    """A data set that becomes a store."""

    name: str
    patches: int
    folders: int
    """Of a patch with its partners: names that are listed before any of them is opened."""
    files: int
    """Of a patch with its partners."""
    source: float
    """Bytes of all of them."""
    store: float
    """Bytes of all records."""
    shards: int
    """Each is a task."""


@dataclass(frozen=True)
class Machines:
    """Nodes that share a disk. None of these was measured: they are what one may have."""

    nodes: int
    cores: int = 16
    shared_read: float = 10e9
    """Bytes a second that the shared disk gives to all nodes together."""
    shared_write: float = 5e9
    shared_opens: float = 50_000
    """Files a second that it opens for all nodes together."""
    shared_names: float = 500_000
    """Names of folders a second that it lists."""
    node: float = 2.5e9
    """Bytes a second through the network of a node."""
    scratch: float = 2e9
    """Bytes a second that the scratch disk of a node takes."""


BIGEARTHNET = Work("BigEarthNet v2", 549_488, 3, 15, 549_488 * 305e3, 549_488 * 489_976, 128)
SCENES = Work("2.2 million scenes, 50 TB", 2_200_000, 1, 14, 50e12, 50e12, 5_000)
NODES = (1, 2, 4, 8, 16, 32, 64)


def seconds(work: Work, machines: Machines, costs: Costs) -> dict[str, float]:
    """Resource -> how long it alone would take for the whole conversion."""
    busy = min(machines.nodes * machines.cores, work.shards)
    rounds = -(-work.shards // busy)  # tasks that the busiest worker does, one after the other
    share = rounds / work.shards  # of the records, that it stores
    nodes = min(machines.nodes, work.shards)
    encode = costs.encode * (work.store / costs.encode_bytes)
    return {
        "list of the source": work.patches * (costs.walk + work.folders / machines.shared_names),
        "CPU": encode * share + rounds * costs.start,
        "shared disk, files": work.patches * work.files / machines.shared_opens,
        "shared disk, bytes": max(
            work.source / machines.shared_read, work.store / machines.shared_write
        ),
        "network of a node": (work.source + work.store) / machines.node / nodes,
        "scratch of a node": work.store / machines.scratch / nodes,
        "scheduler": work.shards * costs.task,
        "join of the table": work.patches * costs.row,
    }


ALONE = ("list of the source", "join of the table")
"""What the client does before the first task begins, and after the last has ended."""


def total(found: dict[str, float]) -> float:
    """Seconds from the start to the end."""
    together = max(value for name, value in found.items() if name not in ALONE)
    return together + sum(found[name] for name in ALONE)


def decisive(found: dict[str, float]) -> str:
    """The resource that takes longest."""
    return max(found, key=lambda name: found[name])


def table(work: Work, costs: Costs | None = None) -> CaseTable:
    """For 1 to 64 nodes: how long each resource alone would take, and which decides."""
    found = [seconds(work, Machines(nodes), costs or Costs()) for nodes in NODES]
    rows = [(name, *(duration(one[name]) for one in found)) for name in found[0]]
    rows.append(("**all together**", *(f"**{duration(total(one))}**" for one in found)))
    rows.append(("decides", *(decisive(one) for one in found)))
    raw: list[dict[str, object]] = [
        {"nodes": nodes, **one} for nodes, one in zip(NODES, found, strict=True)
    ]
    header = ("nodes", *map(str, NODES))
    title = f"{work.name}: {work.patches:,} patches, {work.shards:,} shards"
    return CaseTable("model", title, (), header, tuple(rows), tuple(raw))


def duration(value: float) -> str:
    """Seconds as people say them: ``0.4 s``, ``35 s``, ``12 min``, ``3.5 h``."""
    if value < 10:
        return f"{value:.1f} s"
    if value < 120:
        return f"{value:.0f} s"
    if value < 7200:
        return f"{value / 60:.0f} min"
    return f"{value / 3600:.1f} h"
