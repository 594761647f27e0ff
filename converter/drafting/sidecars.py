"""The JSON file that lies beside each patch: its name, and the keys that become columns."""

import json
import re
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from patchpress.converter.drafting.classes_of import LABEL_WORDS, add_labels
from patchpress.converter.drafting.draft import IDENTITY, Draft, DraftModality
from patchpress.converter.drafting.naming import link_by_column, share_names

SIDECARS = 300  # JSON files that are read, at most
MOST_COLUMNS = 20  # of a JSON file, that become columns


def add_sidecar(draft: Draft, modality: DraftModality) -> set[Path]:
    """Enter the JSON file that lies beside each patch of a modality, if there is one.

    Gives all files that are of one patch each, whether they are entered or not.
    """
    rests, paths = _json_rests(modality)
    if rests:
        _enter(draft, modality, rests, paths)
    return {file for files in paths.values() for file in files}


def _enter(
    draft: Draft,
    modality: DraftModality,
    rests: Counter[str],
    paths: Mapping[str, list[Path]],
) -> None:
    rest, count = rests.most_common(1)[0]
    if 2 * count < len(modality.scheme.names) or (modality.identity and "{}" in rest):
        return
    columns = _json_columns(paths[rest][:SIDECARS], taken={IDENTITY, *modality.columns})
    if not columns:
        return
    first = draft.modalities[0]
    for name, values in columns.items() if not modality.is_linked else ():
        if share_names(values, first.names):
            link_by_column(modality, f"{modality.name}_name")
            columns = {IDENTITY if other == name else other: v for other, v in columns.items()}
            modality.sidecar_columns[IDENTITY] = name
            break
    column = modality.key.partition("{")[2].partition("}")[0]
    modality.sidecar = rest.replace("{}", f"{{{column}}}")
    modality.sidecar_columns |= {name: name for name in columns if name != IDENTITY}
    whole = draft.whole and len(paths[rest]) <= SIDECARS
    for name in columns:
        if name.casefold() in LABEL_WORDS:
            add_labels(draft, name, columns[name], whole=whole)


def _json_rests(modality: DraftModality) -> tuple[Counter[str], Mapping[str, list[Path]]]:
    """Names of JSON files with ``{}`` for the patch's name -> how many, and which, there are."""
    scheme = modality.scheme
    names = {name for _, name in scheme.names}
    paths: dict[str, list[Path]] = {}
    for place in scheme.cluster.places:
        for file in place.seen.files:
            if not file.lower().endswith(".json"):
                continue
            own = place.seen.path.name if scheme.is_folder_a_patch else ""
            if not own:
                own = max((n for n in _starts(file) if n in names), key=len, default="")
            if own and file.startswith(own):
                paths.setdefault(f"{{}}{file[len(own) :]}", []).append(place.seen.path / file)
            elif scheme.is_folder_a_patch:
                paths.setdefault(file, []).append(place.seen.path / file)
    return Counter({rest: len(files) for rest, files in paths.items()}), paths


def _starts(file: str) -> list[str]:
    """The beginnings of a name up to each separator."""
    return [file[: match.start()] for match in re.finditer(r"[_\-. ]", file)]


def _json_columns(files: Collection[Path], taken: Collection[str]) -> dict[str, list[Any]]:
    """Keys of JSON files whose values a table can hold -> the values."""
    values: dict[str, list[Any]] = {}
    refused: set[str] = set()
    for file in files:
        try:
            content = json.loads(file.read_bytes()) if file.stat().st_size < (2 << 20) else None
        except (OSError, ValueError, RecursionError):
            continue
        for name, value in content.items() if isinstance(content, dict) else ():
            if _is_column(value):
                values.setdefault(name, []).append(value)
            else:
                refused.add(name)
    names = [
        name
        for name in values
        if name not in refused and name not in taken and re.fullmatch(r"[A-Za-z_]\w*", name)
    ]
    if len(names) > MOST_COLUMNS:
        names = [name for name in names if name.casefold() in LABEL_WORDS]
    return {name: values[name] for name in names}


def _is_column(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(one, str) for one in value)
    return isinstance(value, int | float | bool) or (isinstance(value, str) and len(value) < 200)
