"""The dataset card: README.md of a folder for the Hugging Face Hub, with its YAML."""

import re
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from typing import Any

from patchpress.converter.exports.hub_folder import HubFolder
from patchpress.converter.exports.hub_pixels import Feature, PixelColumn
from patchpress.converter.exports.own_size import own_size_notes
from patchpress.converter.exports.yaml_text import yaml_text
from patchpress.readers.format.manifest import Dataset
from patchpress.readers.format.modality import Modality

LICENCES = (
    "apache-2.0", "bsd-2-clause", "bsd-3-clause", "c-uda", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0",
    "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-nd-3.0",
    "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0",
    "cdla-sharing-1.0", "etalab-2.0", "gpl-3.0", "lgpl-3.0", "mit", "odbl", "odc-by", "pddl",
    "unlicense",
)  # fmt: skip
"""Names of licences that the hub knows, for data; others are `other` with their own name."""
_SHORTER = {"odbl-1.0": "odbl", "odc-by-1.0": "odc-by", "pddl-1.0": "pddl"}
_SIZES = ("1K", "10K", "100K", "1M", "10M", "100M", "1B")
_LONGEST_NAME = 60


def card_text(hub: HubFolder, notes: Sequence[str]) -> str:
    """The card.

    Args:
        hub: the folder.
        notes: what is not as in the store, a sentence each.
    """
    return f"---\n{yaml_text(_front(hub))}---\n\n{_body(hub, notes)}"


def _front(hub: HubFolder) -> dict[str, Any]:
    manifest = hub.selection.manifest
    front: dict[str, Any] = {
        "pretty_name": manifest.dataset.title or manifest.dataset.name,
        **licence_facts(manifest.dataset),
    }
    tasks = _tasks(hub)
    if tasks:
        front["task_categories"] = tasks
    return front | {
        "size_categories": [size_category(hub.count)],
        "tags": ["remote-sensing", "earth-observation", "satellite-imagery", "patchpress"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": one.name, "path": f"data/{one.name}-*"} for one in hub.splits
                ],
            }
        ],
        "dataset_info": {
            "features": [
                {"name": name, **_yaml_feature(feature)}
                for name, feature in hub.rows.features.items()
            ],
            "splits": [
                {"name": one.name, "num_bytes": one.memory, "num_examples": one.rows}
                for one in hub.splits
            ],
            "download_size": sum(one.bytes for one in hub.splits),
            "dataset_size": sum(one.memory for one in hub.splits),
        },
    }


def licence_facts(dataset: Dataset) -> dict[str, str]:
    """The licence as the hub's YAML has it."""
    known = dataset.licence.strip().lower()
    known = _SHORTER.get(known, known)
    if known in LICENCES:
        return {"license": known}
    if not known:
        return {"license": "unknown"}
    name = re.sub(r"[^a-z0-9.]+", "-", known).strip("-.")[:_LONGEST_NAME].strip("-.")
    link = {"license_link": dataset.url} if dataset.url.startswith(("http://", "https://")) else {}
    return {"license": "other", "license_name": name or "other", **link}


def _tasks(hub: HubFolder) -> list[str]:
    """What the hub calls what can be learned."""
    manifest = hub.selection.manifest
    tasks = []
    if any(column.classes for column in hub.rows.columns):
        tasks.append("image-classification")
    if any(modality.kind == "classes" for modality in hub.selection.modalities.values()):
        tasks.append("image-segmentation")
    if manifest.numbers:
        tasks.append("other")
    return tasks


def size_category(rows: int) -> str:
    """How many rows there are, as the hub's YAML has it."""
    for number, limit in enumerate(_SIZES):
        if rows < 10 ** (3 + number):
            return f"n<{limit}" if not number else f"{_SIZES[number - 1]}<n<{limit}"
    return f"n>{_SIZES[-1]}"


def _yaml_feature(feature: Feature) -> dict[str, Any]:
    """A type in the words that the YAML of a card has for it."""
    kind = feature.get("_type")
    if not isinstance(kind, str):
        parts = [{"name": name, **_yaml_feature(one)} for name, one in feature.items()]
        return {"struct": parts}
    if kind == "Value":
        return {"dtype": feature["dtype"]}
    if kind == "Image":
        return {"dtype": "image"}
    if kind == "ClassLabel":
        names = {str(number): name for number, name in enumerate(feature["names"])}
        return {"dtype": {"class_label": {"names": names}}}
    if kind == "List":
        inner = _yaml_feature(feature["feature"])
        inner = inner["dtype"] if set(inner) == {"dtype"} else inner
        length = {"length": feature["length"]} if "length" in feature else {}
        return {"list": inner, **length}
    shape = {"shape": feature["shape"], "dtype": feature["dtype"]}
    return {"dtype": {kind.lower().replace("d", "_d"): shape}}


def _body(hub: HubFolder, notes: Sequence[str]) -> str:
    dataset = hub.selection.manifest.dataset
    title = dataset.title or dataset.name
    parts = [
        f"# {_text(title)}",
        _first_words(hub),
        "## Read it",
        _reading(hub),
        "## Splits",
        _table(
            ("split", "patches", "files"),
            [(one.name, f"{one.rows:,}", f"{len(one.files):,}") for one in hub.splits],
        ),
        "## Columns",
        _columns(hub),
        *(part for m in hub.selection.modalities.values() for part in _bands(m)),
        *_classes(hub),
        "## How it was made",
        _making(hub, notes),
        "## Licence",
        _licence(dataset),
    ]
    if dataset.citation:
        parts += [
            "## Citation",
            f"Please cite the authors of the data set:\n\n> {_text(dataset.citation)}",
        ]
    return "\n\n".join(parts) + "\n"


def _first_words(hub: HubFolder) -> str:
    dataset = hub.selection.manifest.dataset
    source = _text(f"{dataset.name} {dataset.version}")
    link = f" ([publisher]({dataset.url}))" if dataset.url.startswith("http") else ""
    pixels = "with the pixels as the notes below say"
    if not own_size_notes(hub.selection):
        pixels = "with every pixel as published: no value was scaled, rounded or clipped"
    titles = [f"`{m.name}`: {_text(m.title or m.name)}" for m in hub.selection.modalities.values()]
    return (
        f"{hub.count:,} satellite patches of {source}{link}, one row a patch, {pixels}.\n\n"
        + "\n".join(f"- {one}" for one in titles)
    )


def _reading(hub: HubFolder) -> str:
    column, split = hub.rows.pixels[0], hub.splits[0].name
    return f"""\
```python
from datasets import load_dataset  # pip install 'datasets>=4' pillow

dataset = load_dataset("FOLDER-OR-NAME-ON-THE-HUB", split="{split}")
row = dataset.with_format("numpy")[0]
row["{column.name}"]  # {_shape(column)}
```

The files have the pixels in the dtypes below. The format `numpy` of `datasets` makes int64 of \
whole numbers and float32 of others, unless it is told a dtype: \
`with_format("numpy", columns=["{column.name}"], dtype="{column.dtype}")`. Rows without a record \
have null there."""


def _shape(column: PixelColumn) -> str:
    if None in column.shape:
        return f"{len(column.shape)} dimensions, each row in its own size"
    return f"shape ({', '.join(map(str, column.shape))})"


def _columns(hub: HubFolder) -> str:
    rows = hub.rows
    found = [
        (rows.key, "string", "name of the patch"),
        (rows.image, "image", f"a picture to look at, 8 bits: {hub.picture}; not for training"),
    ]
    for column in rows.pixels:
        axes = ("step, " if column.modality.steps else "") + (
            "band, row, column" if len(column.bands) > 1 or column.source == column.modality.name
            else "row, column"
        )  # fmt: skip
        found.append((column.name, column.dtype, f"pixels ({axes}), {_shape(column)}"))
    for one in rows.columns:
        what = f"{len(one.classes)} classes" if one.classes else ""
        found.append((one.name, _kind(one.feature), what))
    return _table(("column", "type", "what"), [(f"`{a}`", b, c) for a, b, c in found])


def _kind(feature: Feature) -> str:
    kind = feature.get("_type")
    if kind == "List":
        return f"list of {_kind(feature['feature'])}"
    if kind == "ClassLabel":
        return "class label"
    return str(feature["dtype"]) if kind == "Value" else "struct"


def _bands(modality: Modality) -> Iterable[str]:
    yield f"## Bands of `{modality.name}`"
    yield _table(
        ("position", "band", "pixel (m)", "size as published", "dtype"),
        [
            (str(n), f"`{one.name}`", f"{one.gsd:g}", f"{one.shape[0]} x {one.shape[1]}", one.dtype)
            for n, one in enumerate(modality.bands)
        ],
    )  # fmt: skip
    if modality.rgb:
        yield f"Red, green, blue: {', '.join(f'`{band}`' for band in modality.rgb)}."


def _classes(hub: HubFolder) -> Iterable[str]:
    for column in hub.rows.columns:
        if not column.classes:
            continue
        yield f"## Classes of `{column.name}`"
        counts = [one.labels[column.name] for one in hub.splits]
        head = ("number", "class", *(one.name for one in hub.splits))
        yield _table(
            head,
            [
                (str(number), name, *(f"{count[number]:,}" for count in counts))
                for number, name in enumerate(column.classes)
            ],
        )


def _making(hub: HubFolder, notes: Sequence[str]) -> str:
    dataset, options = hub.selection.manifest.dataset, hub.selection.manifest.options
    told = ", ".join(f"{name} {value}" for name, value in options.items() if value is not None)
    text = (
        f"Made with patchpress {version('patchpress')} from a store of {_text(dataset.name)} "
        f"{_text(dataset.version)} (table {hub.selection.manifest.metadata_digest[:19]}…), by\n\n"
        f"```\n{hub.selection.command}\n```\n\n"
        f"The store was converted with: {_text(told)}. `croissant.json` has the SHA-256 of each "
        "file."
    )
    return (
        text
        + "".join(f"\n\n- {_text(note)}" for note in notes[:1])
        + "".join(f"\n- {_text(note)}" for note in notes[1:])
    )


def _licence(dataset: Dataset) -> str:
    words = dataset.licence or "the publisher names none in what was converted"
    link = f" See <{dataset.url}>." if dataset.url.startswith("http") else ""
    return f"The data keep the licence of their publisher: {_text(words)}.{link}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_text(cell) for cell in line)} |" for line in lines)


def _text(text: str) -> str:
    """A text in Markdown: in one line, without what would end a cell or begin HTML."""
    one_line = " ".join(text.split())
    return one_line.replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")
