"""The command line that makes an export again, for what is told beside the files."""

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from patchpress.converter.exports.formats import ExportOptions
from patchpress.converter.transfer.bands_option import band_words
from patchpress.converter.transfer.row_choice import RowChoice
from patchpress.readers.choice import Bands


def command_again(
    kind: str,
    store: str | os.PathLike[str],
    out: str | os.PathLike[str],
    choice: RowChoice,
    modalities: Sequence[str] | None,
    bands: Bands,
    options: ExportOptions,
) -> str:
    """The command, with the last names of paths only; what was chosen in Python is in words."""
    words = ["patchpress", "export", kind, Path(os.fspath(store)).name, Path(os.fspath(out)).name]
    remarks = []
    split = [choice.split] if isinstance(choice.split, str) else choice.split
    if isinstance(split, Sequence):
        words += [word for name in split for word in ("--split", name)]
    elif split is not None:
        remarks.append("rows chosen in Python")
    if isinstance(choice.where, Mapping):
        for column, value in choice.where.items():
            many = value if isinstance(value, (list, tuple, set, frozenset)) else [value]
            words += [word for one in many for word in ("--where", f"{column}={one}")]
    elif choice.where is not None:
        remarks.append(f"rows where {choice.where}")
    if choice.flagged is not None:
        words += ["--flagged", choice.flagged]
    if isinstance(choice.keys, Path):
        words += ["--keys", choice.keys.name]
    elif choice.keys is not None:
        remarks.append(f"{len(choice.keys):,} names of patches")
    for name in modalities or ():
        words += ["--modality", name]
    for entry in band_words(bands):
        words += ["--bands", entry]
    for option, value in (
        ("--fraction", choice.fraction),
        ("--per-class", choice.per_class),
        ("--target", choice.target),
        ("--seed", choice.seed or None),
    ):
        words += [] if value is None else [option, str(value)]
    for field in fields(options):
        value, name = getattr(options, field.name), f"--{field.name.replace('_', '-')}"
        if value != field.default:
            words += [name] if value is True else [name, str(value)]
    return shlex.join(words) + (f"  # and {', '.join(remarks)}" if remarks else "")
