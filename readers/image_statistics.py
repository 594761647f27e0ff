"""Which statistics belong to which image of a sample, in the order of its channels."""

from collections.abc import Mapping

from patchpress.readers.errors import OptionError
from patchpress.readers.images import IMAGE
from patchpress.readers.statistics import Statistics, check_statistics, joined

BandsByModality = Mapping[str, tuple[str, ...]]


def statistics_of(
    images: Mapping[str, BandsByModality], statistics: Statistics | Mapping[str, Statistics] | None
) -> dict[str, Statistics | None]:
    """The statistics of each image, its bands in the order of the channels.

    Args:
        images: field name -> modality -> bands, as `Samples.image_bands` has them.
        statistics: of the images' bands, or each modality's by its name.

    Raises:
        OptionError: statistics of other modalities, or something that is no statistics.
        BandMissing: statistics without one of the bands.
    """
    if statistics is None:
        return dict.fromkeys(images)
    values = statistics.values() if isinstance(statistics, Mapping) else [statistics]
    for value in values:
        check_statistics(value)
    if not isinstance(statistics, Statistics):
        return {name: _by_modality(bands, statistics) for name, bands in images.items()}
    if len(images) > 1:
        wanted = ", ".join(name.removeprefix(f"{IMAGE}_") for name in images)
        raise OptionError(f"images are not joined: give statistics by modality ({wanted})")
    ((name, by_modality),) = images.items()
    bands = [band for some in by_modality.values() for band in some]
    alike = list(statistics.band_names) == bands
    return {name: statistics if alike else statistics.pick(bands)}


def _by_modality(bands: BandsByModality, statistics: Mapping[str, Statistics]) -> Statistics:
    for modality in bands:
        if modality not in statistics:
            there = ", ".join(map(str, statistics)) or "none"
            raise OptionError(f"there are no statistics of {modality!r} among those given: {there}")
    return joined(*(statistics[modality].pick(some) for modality, some in bands.items()))
