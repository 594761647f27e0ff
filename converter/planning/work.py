"""How much work a conversion has, as far as a glance at its folders tells before workers start."""

import os
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

from patchpress.converter.descriptions.description import Description
from patchpress.converter.sources.folders import patterns_of
from patchpress.converter.sources.locate import SourceParts


def count_patches(
    description: Description, parts: SourceParts, name: str, most: int, limit: int | None = None
) -> int:
    """How many patches of a modality there are at most; no more than `most` are looked for.

    What an archive holds is only known when it is read: then it is as many as are looked for.
    """
    most = most if limit is None else min(most, limit)
    location = parts.modalities[name]
    if location.archives or location.folder is None:
        return most
    found = 0
    for pattern in patterns_of(description.modalities[name]):
        depth = len(pattern.folders) - pattern.is_folder_a_patch
        found += _count([location.folder], depth, most - found)
    return found


def _count(folders: Iterable[str | Path], depth: int, most: int) -> int:
    """How many entries the folders have that lie `depth` folders below them; `most` at most."""
    found = 0
    for folder in folders:
        if found >= most:
            break
        try:
            with os.scandir(folder) as entries:
                if depth:
                    below = (entry.path for entry in entries if entry.is_dir())
                    found += _count(below, depth - 1, most - found)
                else:
                    found += sum(1 for _ in islice(entries, most - found))
        except OSError:  # the walk tells about it
            continue
    return found
