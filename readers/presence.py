"""Which modalities each sample has, if what it lacks is filled in: `present` of a batch."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.readers.errors import OptionError
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import presence_column
from patchpress.readers.images import Field

if TYPE_CHECKING:
    import pyarrow as pa

PRESENT = "present"
LEAVE_OUT, ZEROS = "leave-out", "zeros"
MISSING = (LEAVE_OUT, ZEROS)


@dataclass(frozen=True)
class Presence:
    """For each sample which modalities it has."""

    names: tuple[str, ...]
    """Of the modalities, in the order of the columns."""
    values: npt.NDArray[np.bool_]
    """(samples, modalities)."""

    @property
    def field(self) -> Field:
        """`present` of a sample: (modalities,) bool."""
        return Field(PRESENT, (len(self.names),), np.dtype(bool))

    @cached_property
    def lacking(self) -> dict[str, int]:
        """Modality -> samples that lack it; only those that some sample lacks."""
        counts = (~self.values).sum(axis=0).tolist()
        return {name: count for name, count in zip(self.names, counts, strict=True) if count}

    def of(self, modality: str) -> npt.NDArray[np.bool_]:
        """For each sample whether it has the modality."""
        found: npt.NDArray[np.bool_] = self.values[:, self.names.index(modality)]
        return found

    def subset(self, indices: npt.NDArray[Any]) -> "Presence":
        """That of some of the samples."""
        return replace(self, values=self.values[indices])


def presence_in(rows: "pa.Table", modalities: Iterable[Modality]) -> Presence:
    """Which of the modalities each row has; each modality once, in the order given."""
    names = tuple(dict.fromkeys(modality.name for modality in modalities))
    columns = [rows[presence_column(name)].to_numpy() for name in names]
    return Presence(names, np.stack(columns, axis=1).astype(bool, copy=False))


def fills_in(missing: object) -> bool:
    """Whether a sample's missing modalities are filled in; otherwise it is left out.

    Raises:
        OptionError: it is none of `MISSING`.
    """
    if missing not in MISSING:
        raise OptionError(f"missing must be 'leave-out' or 'zeros', not {missing!r}")
    return missing == ZEROS


def fill_values(
    images: Sequence[Modality], missing_code: int | None, *, filled: bool
) -> Mapping[str, int]:
    """What each pixel of a missing modality becomes: 0, or the code that was given for maps.

    Args:
        images: modalities that are read as images.
        missing_code: what pixels of a missing map become.
        filled: whether anything is filled in.

    Raises:
        OptionError: a map is filled in and no code is given for it, or one that its dtype does not
            hold, or a code is given and no map is filled in.
    """
    maps = [modality for modality in images if modality.kind == "classes"] if filled else []
    if missing_code is not None and not maps:
        raise OptionError(
            f"missing_code {missing_code!r} is for maps that are read as images with "
            "missing='zeros': leave it out (pixels of a target become ignore_index)"
        )
    for modality in maps:
        if missing_code is None:
            raise OptionError(
                f"0 may be a class of {modality.name!r}: say what each pixel of a missing one "
                "becomes, as missing_code=255, or name it in target, not in modalities"
            )
        kind = np.iinfo(modality.dtype.name) if modality.dtype.kind in "iu" else None
        whole = isinstance(missing_code, (int, np.integer)) and not isinstance(missing_code, bool)
        if not whole or (kind is not None and not kind.min <= missing_code <= kind.max):
            raise OptionError(
                f"missing_code must be a whole number that {modality.dtype.name} holds, as "
                f"{modality.name!r} is stored, not {missing_code!r}"
            )
    return {m.name: int(missing_code or 0) if m in maps else 0 for m in images}
