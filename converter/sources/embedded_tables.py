"""Which Parquet files of a folder have the patches of a modality in their rows."""

from pathlib import Path

from patchpress.converter.descriptions.description import ModalitySource
from patchpress.converter.sources.passed_over import is_hidden


def tables_in(modality: ModalitySource, folder: Path) -> tuple[Path, ...]:
    """The Parquet files that a folder has where the description expects them, sorted."""
    patterns = modality.embedded.files if modality.embedded is not None else ()
    for pattern in patterns:
        if found := _matching(folder, pattern):
            return found
    return ()


def tables_below(modality: ModalitySource, folder: Path) -> tuple[Path, ...]:
    """Those of a folder that is one of the folders in which the description expects them."""
    patterns = modality.embedded.files if modality.embedded is not None else ()
    for pattern in patterns:
        names = pattern.split("/")
        for depth in range(1, len(names)):
            if found := _matching(folder, "/".join(names[depth:])):
                return found
    return ()


def _matching(folder: Path, pattern: str) -> tuple[Path, ...]:
    found = (path for path in folder.glob(pattern) if not is_hidden(path.name) and path.is_file())
    return tuple(sorted(found))
