"""Several acquisitions of a place to the bytes of one record with a time axis."""

from patchpress.converter.encoding.columnreader import ColumnReader
from patchpress.converter.encoding.encoder import Encoded, Encoder, Recipe
from patchpress.converter.encoding.filled import Filled
from patchpress.converter.encoding.grounds import same_ground, shown
from patchpress.converter.encoding.stacked_dates import StackedDates
from patchpress.converter.encoding.tiff import Ground
from patchpress.converter.sources.opener import PatchOpener
from patchpress.converter.sources.patch import Patch
from patchpress.readers.errors import PatchError


class TimeEncoder:
    """Makes the records of one modality with a time axis, by an `Encoder` for each step.

    Acquisitions are the first steps, by date; those after them are zeros. Not safe between threads.
    """

    def __init__(self, recipe: Recipe, like: "TimeEncoder | None" = None) -> None:
        """Make the encoders; they share what they learn of the files."""
        modality = recipe.modality
        first = Encoder(recipe, like._steps[0] if like else None)
        later = (Encoder(recipe, first, step) for step in range(1, modality.steps))
        self._steps: list[Encoder] = [first, *later]
        self._modality = modality
        self._columns = ColumnReader(modality, recipe.rules, recipe.splits, recipe.identity)
        is_stacked = modality.time is not None and modality.time.order
        self._stacked = StackedDates(recipe) if is_stacked else None

    @property
    def capacity(self) -> int:
        """How many bytes a record takes, compressed or not."""
        return self._steps[0].capacity

    def announce(self, patch: Patch, opener: PatchOpener) -> None:
        """As `Encoder.announce`."""
        self._steps[0].announce(patch, opener)

    def encode(self, patch: Patch, out: memoryview, opener: PatchOpener) -> Encoded:
        """As `Encoder.encode`.

        Raises:
            PatchError: as there; also acquisitions of different ground.
        """
        first = self._steps[0]
        record = first.room(out)
        if self._stacked is not None:
            filled, count, values = self._stacked.fill(patch, record, opener)
        else:
            filled, count = self._fill(patch, record, opener), len(patch.acquisitions)
            values = self._columns.read_time(patch)
        for encoder in self._steps[count:]:
            encoder.clear_step(record)
        return first.stored(filled, values, out)

    def _fill(self, patch: Patch, record: memoryview, opener: PatchOpener) -> Filled:
        """Fill the steps of acquisitions that have files of their own."""
        found: Filled | None = None
        for one, encoder in zip(patch.acquisitions, self._steps, strict=False):
            filled = encoder.fill_step(one, record, opener)
            if found is None:
                found = filled
            else:
                self._check_ground(one, found.ground, filled.ground)
                found = found._replace(found_size=found.found_size or filled.found_size)
        if found is None:
            raise PatchError(f"{patch.folder} has no acquisition")
        return found

    def _check_ground(self, one: Patch, ground: Ground | None, own: Ground | None) -> None:
        coarsest = min(band.shape for band in self._modality.bands)
        if not same_ground(ground, own, coarsest, self._modality.ground_tolerance):
            path = one.path("") if one.after else one.path(one.before)
            raise PatchError(
                f"{path.rstrip('/')} covers {shown(own)}, but the first date of {one.name} "
                f"{shown(ground)}: raise ground_tolerance in the description if that is one place"
            )


def encoder_of(
    recipe: Recipe, like: "Encoder | TimeEncoder | None" = None
) -> "Encoder | TimeEncoder":
    """The encoder of a recipe; it shares what another one of the same recipe learns."""
    if recipe.modality.time is not None:
        return TimeEncoder(recipe, like if isinstance(like, TimeEncoder) else None)
    return Encoder(recipe, like if isinstance(like, Encoder) else None)
