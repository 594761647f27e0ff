"""The report as one picture: patches a second, warm, cold and through torch loaders."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.adapters.protocol import missing
from benchmarks.report import CaseTable

# Our bars and theirs differ in lightness, too: the picture can be read without colours.
OURS, THEIRS = "#0072B2", "#B8BDC4"
INK, FAINT = "#222222", "#6B7178"
BAR_INCHES = 0.27
LAYOUTS = ("stacked", "native")
# Shorter names of contestants, for the picture.
SHORT = {
    "HDF5, a chunk a patch": "HDF5",
    "Zarr v3, a chunk a patch": "Zarr v3",
    "litData, by index, default": "litData by index, its defaults",
    "litData, by index, batch_decode=0": "litData by index, tuned",
    "litData, in order": "litData in order (sequential)",
    "WebDataset, in order": "WebDataset (sequential)",
    "MDS, by index": "MDS by index",
    "TorchGeo's way": "TorchGeo's way (rasterio)",
    "Patchpress, bare read_batch loop": "Patchpress, read_batch loop, no torch",
    "Patchpress, stock DataLoader": "Patchpress, DataLoader(PatchDataset)",
    "Patchpress, PatchLoader": "Patchpress, PatchLoader",
    "per item, default collate": "DataLoader per item (memmap)",
    "MDS, DataLoader": "MDS, DataLoader",
    "litData, StreamingDataLoader": "litData, StreamingDataLoader",
    "WebDataset, WebLoader": "WebDataset, WebLoader (sequential)",
    "LMDB get, readahead off": "plain LMDB get, no readahead",
    "LMDB get, readahead on": "plain LMDB get, readahead",
    "preadv, flat file": "preadv, flat file (reference)",
    "preadv, flat file, announced": "preadv, announced (reference)",
    "NumPy memmap": "NumPy memmap (reference)",
    "Patchpress, stacked, auto": "Patchpress, stacked",
    "Patchpress, native, auto": "Patchpress, native",
}
# Not in the picture: what stands in for a package, and the modes of reading that a user has to ask
# for (with a cold disk the default, "auto", does what "direct" does).
LEFT_OUT = {
    "ConfigILM's way",
    "safetensors.numpy.load, repeat",
    *(f"Patchpress, {layout}, {mode}" for layout in LAYOUTS for mode in ("direct", "map")),
}


@dataclass(frozen=True)
class Panel:
    """One group of bars."""

    case: str
    title: str
    batch: int


PANELS = (
    Panel("read", "Random batches of 64, page cache warm, 1 thread", 64),
    Panel("cold", "Random batches of 64, cold disk", 64),
    Panel("loader", "PyTorch loader, shuffled, batches of 256; best of 0, 1, 2 workers", 256),
)


def bars(panel: Panel, sections: Sequence[CaseTable]) -> list[tuple[str, float]]:
    """Give (label, patches a second) from fast to slow; of several settings the fastest."""
    best: dict[str, float] = {}
    for section in sections:
        for raw in section.raw if section.case == panel.case else ():
            one: dict[str, Any] = dict(raw)
            if one["rates"] and one["name"] not in LEFT_OUT and one["batch"] == panel.batch:
                label = SHORT.get(one["name"], one["name"])
                best[label] = max(best.get(label, 0.0), median(one["rates"]))
    return sorted(best.items(), key=lambda bar: -bar[1])


def draw(sections: Sequence[CaseTable], path: Path) -> str:
    """Draw what was measured; give a sentence that names the file, or says why there is none."""
    found = [(panel, bars(panel, sections)) for panel in PANELS]
    shown = [(panel, some) for panel, some in found if some]
    if reason := missing("matplotlib"):
        return f"No picture: {reason} (pip install '.[plot]')."
    if not shown:
        return "No picture: none of the cases read, cold and loader was measured at its batch size."
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    heights = [len(some) + 2.8 for _, some in shown]
    figure, axes = plt.subplots(
        len(shown),
        1,
        squeeze=False,
        figsize=(8.4, BAR_INCHES * sum(heights) + 0.6),
        gridspec_kw={"height_ratios": heights},
    )
    figure.set_layout_engine("constrained", w_pad=0.12, h_pad=0.08)
    for axis, (panel, some) in zip(axes[:, 0], shown, strict=True):
        draw_panel(axis, panel, some)
    figure.supxlabel(caption(sections), fontsize=8, color=FAINT)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160, facecolor="white")
    plt.close(figure)
    return f"Picture: {path.name}"


def caption(sections: Sequence[CaseTable]) -> str:
    """Say what the bars are, and where they were measured."""
    machine = sections[-1].facts.get("machine", {})
    cpu, cores = machine.get("cpu", "unknown"), machine.get("cores", "?")
    where = f"{cpu}, {cores} cores, {machine.get('memory', '?')}, {machine.get('filesystem', '?')}"
    return (
        "Medians. In brackets: how many times as fast the fastest Patchpress bar of the panel is.\n"
        f"{where}"
    )


def is_ours(label: str) -> bool:
    """Whether a bar is of Patchpress."""
    return label.startswith("Patchpress")


def bar_texts(some: Sequence[tuple[str, float]]) -> list[str]:
    """Give what stands at the end of each bar: its rate, and how many times as fast ours is."""
    ours = max((rate for label, rate in some if is_ours(label)), default=None)
    texts = []
    for _, rate in some:
        times = "" if ours is None or rate == ours else f"  ({_times(ours / rate)})"
        texts.append(f"{rate:,.0f}{times}")
    return texts


def _times(ratio: float) -> str:
    return f"{ratio:.{0 if ratio >= 10 else 1 if ratio >= 1 else 2}f}x"


def draw_panel(axis: Any, panel: Panel, some: list[tuple[str, float]]) -> None:
    """Draw one group of bars from zero, as long as they are fast, each with its number."""
    heights = range(len(some))
    colours = [OURS if is_ours(label) else THEIRS for label, _ in some]
    axis.barh(heights, [rate for _, rate in some], height=0.72, color=colours)
    axis.set_ylim(len(some) - 0.4, -0.6)
    axis.set_xlim(0, max(rate for _, rate in some) * 1.22)
    for height, (label, rate), text in zip(heights, some, bar_texts(some), strict=True):
        style = {"color": OURS, "weight": "bold"} if is_ours(label) else {"color": INK}
        axis.annotate(
            text,
            (rate, height),
            (4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            **style,
        )
    axis.set_yticks(heights, [label for label, _ in some], fontsize=8.5, color=INK)
    for tick, (label, _) in zip(axis.get_yticklabels(), some, strict=True):
        if is_ours(label):
            tick.set(color=OURS, weight="bold")
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelsize=8, labelcolor=FAINT, color=FAINT)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axis.set_xlabel("Sentinel-2 patches (12, 120, 120) a second", fontsize=8, color=FAINT)
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.spines["bottom"].set_color(THEIRS)
    axis.set_title(panel.title, loc="left", fontsize=9.5, weight="bold", color=INK)
