"""Pages of the site that are made when it is built: from descriptions, docstrings and other files.

MkDocs calls the functions that begin with ``on_`` (`hooks` in mkdocs.yml).
"""

import ast
import posixpath
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

import patchpress
from patchpress.converter.descriptions.description import Description, ModalitySource
from patchpress.converter.descriptions.parse import (
    built_in_aliases,
    built_in_descriptions,
    load_description,
)
from patchpress.readers.format.modality import Band

ROOT = Path(__file__).parents[1]
TAKEN = {
    "format.md": "readers/FORMAT.md",
    "house.md": "CONTRIBUTING.md",
    "benchmarks.md": "benchmarks/README.md",
    "changelog.md": "CHANGELOG.md",
    "security.md": "SECURITY.md",
}
"""Page -> the file of the project that it shows."""
MOST_BANDS = 30  # rows of a table of bands
GROUPS = {
    "errors": ("Errors and warnings", "patchpress.readers.errors"),
    "train": ("Read and train", "patchpress.readers"),
    "commands": ("Commands", "patchpress.converter"),
}
"""Page of a part of the interface -> its title, and how the names of its modules begin."""
TABLE = re.compile(r"<!-- the table .*-->")
LINK = re.compile(r"(?<=\]\()(?!https?://|#|mailto:)([^)#\s]+)(#[^)]*)?(?=\))")


def on_config(config: Any) -> Any:
    """Name the page of each data set in the navigation, below the list of them."""
    for part in config.nav:
        for title, pages in part.items():
            if "data-sets.md" in pages:
                at = pages.index("data-sets.md")
                part[title] = [*pages[:at], {"Data sets": ["data-sets.md", *_data_sets()[1]]}]
                part[title] += pages[at + 1 :]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made."""
    for page, path in TAKEN.items():
        text = (ROOT / path).read_text()
        files.append(File.generated(config, page, content=_relinked(text, path)))
    for name, text in _data_sets()[1].items():
        files.append(File.generated(config, name, content=text))
    for name, text in _interface().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let links to files that have a page here lead to that page."""
    if page.file.src_uri == "data-sets.md":
        markdown = TABLE.sub(lambda _: _data_sets()[0], markdown)
    return _relinked(markdown, f"docs/{page.file.src_uri}")


def _relinked(text: str, path: str) -> str:
    """A text of the file `path`, with links as they are between pages."""
    pages = {file: page for page, file in TAKEN.items()}

    def link(found: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(path), found[1]))
        page = pages.get(target) or target.removeprefix("docs/")
        if target.startswith("docs/") or target in pages:
            here = posixpath.dirname(path.removeprefix("docs/")) if path[:5] == "docs/" else ""
            return posixpath.relpath(page, here or ".") + (found[2] or "")
        return found[0]

    return LINK.sub(link, text)


@cache
def _data_sets() -> tuple[str, dict[str, str]]:
    """The table of all built-in data sets, and a page for each."""
    on_disk = dict(_on_disk())
    pages, rows = {}, []
    for name, path in built_in_descriptions().items():
        description = load_description(path)
        pages[f"data-sets/{name}.md"] = _data_set(description, on_disk[name])
        what = ", ".join(dict.fromkeys(map(_briefly, description.modalities.values())))
        title = description.dataset.title
        rows.append(f"| [`{name}`](data-sets/{name}.md) | {title} | {what} |")
    table = "\n".join(["| name | | what is converted |", "|---|---|---|", *rows])
    return table, pages


def _briefly(modality: ModalitySource) -> str:
    """The beginning of a modality's title, or its name if that is a legend of numbers."""
    begin = re.split("[,;(]", modality.title)[0].strip()
    return modality.name.replace("_", " ") if begin[:1].isdigit() else begin


def _on_disk() -> list[tuple[str, str]]:
    """Name of each data set, and what `patchpress datasets` says of it."""
    return [(text.partition(":")[0], text) for text in patchpress.datasets().split("\n\n")]


def _data_set(description: Description, on_disk: str) -> str:
    """The page of one data set."""
    dataset, name = description.dataset, description.dataset.name
    lines = [
        f"# {dataset.title}",
        f"`{name}`" + _also(name),
        f"Licence: {dataset.licence}. Source: <{dataset.url}>. Please cite: {dataset.citation}",
    ]
    if description.untried:
        lines.append(
            "**Not tried with the published files**, or with few of them. The description is "
            f"{description.untried.partition(';')[0]}."
        )
    published = description.published
    if published is not None:
        counts = ", ".join(f"{count:,} {of}" for of, count in published.patches.items())
        lines.append(f"Published: {counts} ({published.source}).")
    lines += [
        "## On disk",
        f"```\n{on_disk}\n```",
        f"`patchpress datasets --guess FOLDER` says whether a folder is one of them, and "
        f"`patchpress datasets --show {name}` prints the description itself.",
        "## Commands",
        f"```\npatchpress convert {name} /data/{name} {name}.store --dry-run\n"
        f"patchpress convert {name} /data/{name} {name}.store\n"
        f"patchpress verify {name}.store --against /data/{name}\n```",
        "[What may lie in the source](../sources.md), [options](../convert.md), "
        "[layout and compression](../layouts.md).",
        "## Pixels",
    ]
    for modality in description.modalities.values():
        lines += [f"### `{modality.name}`: {modality.title}", _bands(modality)]
    lines += ["## Labels and splits", *_labels(description)]
    for defect in description.defects:
        lines.append(f"Left out: {', '.join(f'`{one}`' for one in defect.patches)}: "
                     f"{defect.what} ({defect.source}).")  # fmt: skip
    return "\n\n".join(lines) + "\n"


def _also(name: str) -> str:
    """The other names of a data set, as the end of a sentence."""
    others = [f"`{alias}`" for alias, of in built_in_aliases().items() if of == name]
    return f", also called {', '.join(others)}" if others else ""


def _bands(modality: ModalitySource) -> str:
    """The bands of a modality as a table; bands that are alike and numbered are one row."""
    kept = f"Kept under the key `{modality.key}`."
    if modality.time is not None:
        kept += f" A record has {modality.time.steps} dates; those that lack are zeros, and told."
    if len(modality.bands) > MOST_BANDS:
        first, last = modality.bands[0], modality.bands[-1]
        rows = [_row(f"{first.name} to {last.name}", first, modality.wavelengths)]
    else:
        rows = [_row(band.name, band, modality.wavelengths) for band in modality.bands]
    head = "| band | metres a pixel | pixels | dtype | nanometres |\n|---|---|---|---|---|"
    return "\n".join([kept, "", head, *rows])


def _row(name: str, band: Band, wavelengths: Mapping[str, float]) -> str:
    height, width = band.shape
    wavelength = wavelengths.get(band.name, "")
    return f"| {name} | {band.gsd:g} | {height} x {width} | {band.dtype} | {wavelength} |"


def _labels(description: Description) -> list[str]:
    """What is learned, and the splits."""
    lines = []
    for column, rule in description.labels.items():
        default = " (learned if no other is named)" if column == description.target else ""
        made = f", made of `{rule.source}`" if rule.source else ""
        if rule.is_number:
            lines.append(f"`{column}`{default}: a number.")
            continue
        names = "; ".join(rule.classes)
        lines.append(f"`{column}`{default}{made}: {len(rule.classes)} classes: {names}.")
    if not lines:
        lines.append("It has no labels.")
    splits = description.splits
    names = ", ".join(f"`{name}`" for name in description.split_names)
    lines.append(
        f"Splits: {names}." if splits else "It has no splits: draw some with `Samples.folds`."
    )
    if description.flag_columns:
        flags = ", ".join(f"`{column}`" for column in description.flag_columns)
        lines.append(f"Patches that its publisher does not recommend are flagged: {flags}.")
    return lines


def _interface() -> dict[str, str]:
    """The pages of the public names, and one that lists them all."""
    tree = ast.parse((ROOT / "patchpress" / "__init__.py").read_text())
    (guarded,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
    )
    found: dict[str, list[tuple[str, str]]] = {page: [] for page in GROUPS}
    for node in guarded.body:
        if not isinstance(node, ast.ImportFrom) or node.module is None:
            continue
        page = next(page for page, (_, begin) in GROUPS.items() if node.module.startswith(begin))
        found[page] += [(node.module, alias.name) for alias in node.names]
    overview = ["# Interface", "Every name here is imported from `patchpress`."]
    pages = {}
    for page in ("train", "commands", "errors"):
        title, names = GROUPS[page][0], found[page]
        rows = [f"| [`{name}`][{module}.{name}] | {_summary(module, name)} |"
                for module, name in names]  # fmt: skip
        overview += [f"## {title}", "\n".join(["| name | |", "|---|---|", *rows])]
        entries = [f"::: {module}.{name}\n    options: {{heading_level: 2}}"
                   for module, name in names]  # fmt: skip
        pages[f"api/{page}.md"] = "\n\n".join([f"# {title}", *entries]) + "\n"
    return {"api.md": "\n\n".join(overview) + "\n", **pages}


def _summary(module: str, name: str) -> str:
    """The first sentence of a docstring, without loading what the module needs."""
    path = ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return " ".join((ast.get_docstring(node) or "").partition("\n\n")[0].split())
    return ""
