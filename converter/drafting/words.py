"""What names mean: bands, instruments, maps of classes, splits, seasons, or one of many."""

import re
from collections.abc import Collection, Iterable, Sequence

from patchpress.readers.format.split_names import STANDARD, standard_name

_SEPARATORS = re.compile(r"[_\-. ]+")
_BAND = re.compile(
    r"(?i)b(?:and)?_?\d{1,2}a?|vv|vh|hh|hv|oa\d\d|red|green|blue|nir\d?|swir\d?|rededge\d?|pan|coastal|cirrus|tirs?\d*"
)
_EXACT = frozenset(
    (
        *("ms", "msi", "rgb", "ir", "nir", "hs", "hsi", "lc", "gt", "sar", "dem", "dsm", "dtm"),
        *("s1", "s2", "s3", "s5p", "l8", "l9", "naip", "enmap", "aerial", "spot", "planet", "pan"),
    )
)
_BEGIN = re.compile(
    r"(?i)(?:s[12][a-d]?(?:hand|grd|l1c|l2a|rtc)?|sentinel\d?|landsat\d?|radar|optical|multispectral"
    r"|hyperspectral|elevation|height|images?|imgs?|labels?(?:hand)?|masks?|maps?|lulc|landcover"
    r"|worldcover|esaworldcover|reference|annotations?|targets?|groundtruth|gt|semantic|instance"
    r"|segmentation|window|cloud(?:mask)?s?|modis|aster|naip|lidar)$"
)
_MASK = re.compile(
    r"(?i)^(?:labels?(?:hand)?|masks?|pixelmask|lc|lulc|landcover|worldcover|esaworldcover|class(?:es)?"
    r"|seg(?:mentation)?|semantic|instance|gt|groundtruth|reference|annotations?|maps?|scl|clc|igbp"
    r"|quality|cloudmask|flags?|testflags)$"
)
_SEASONS = frozenset(("spring", "summer", "autumn", "fall", "winter", "snow"))
_RESOLUTION = re.compile(r"(?i)\d{1,3}(?:\.\d)?m")
S2_WAVELENGTHS = {
    "B1": 442.7,
    "B2": 492.7,
    "B3": 559.8,
    "B4": 664.6,
    "B5": 704.1,
    "B6": 740.5,
    "B7": 782.8,
    "B8": 832.8,
    "B8A": 864.7,
    "B9": 945.1,
    "B10": 1373.5,
    "B11": 1613.7,
    "B12": 2202.4,
}
"""Band of Sentinel-2, without zeros -> nanometres."""


def tokens(name: str) -> list[str]:
    """The words of a name, as underscores, hyphens, points and blanks part them."""
    return [word for word in _SEPARATORS.split(name) if word]


def is_band(name: str) -> bool:
    """Whether a name is that of a band, as publishers write them."""
    return _BAND.fullmatch(name) is not None


def is_one_of_many(name: str) -> bool:
    """Whether a name looks like that of a patch, a tile or a date: mostly a number."""
    digits = sum(letter.isdigit() for letter in name)
    if re.search(r"\d{3}", name) or re.match(r"\d{2}[A-Z]{3}", name):  # such as tile 33UUP
        return True
    return digits > 0 and 2 * digits >= len(name) and not has_word(name)


def has_word(name: str) -> bool:
    """Whether a name says an instrument, or what a map holds."""
    return any(
        word.casefold() in _EXACT or _BEGIN.fullmatch(word) or _MASK.fullmatch(word)
        for word in tokens(name)
    )


def instrument_of(name: str) -> str:
    """The word of a longer name that says an instrument; empty if none does."""
    words = [word.casefold() for word in tokens(name)]
    return next((word for word in words if word in _EXACT), "") if len(words) > 1 else ""


def is_mask(*names: str) -> bool:
    """Whether one of some names says that pixels are codes of classes."""
    return any(_MASK.fullmatch(word) for name in names for word in tokens(name))


def has_resolution(name: str) -> bool:
    """Whether a name has a resolution in it, such as ``20m``."""
    return any(_RESOLUTION.fullmatch(word) for word in tokens(name))


def are_splits(names: Collection[str]) -> bool:
    """Whether all names are those of splits."""
    return bool(names) and all(standard_name(name) in STANDARD for name in names)


def are_seasons(names: Iterable[str]) -> bool:
    """Whether all names are those of seasons."""
    return all(name.casefold() in _SEASONS for name in names)


def common_start(names: Sequence[str]) -> str:
    """What all names begin with."""
    if not names:
        return ""
    low, high = min(names), max(names)
    same = next((at for at, letter in enumerate(low) if high[at : at + 1] != letter), len(low))
    return low[:same]


def s2_number(band: str) -> str:
    """A band of Sentinel-2 without zeros, ``B8A`` for ``B08A``; empty if it is none."""
    match = re.fullmatch(r"(?i)b(?:and)?_?0?(\d{1,2})(a?)", band)
    name = f"B{int(match[1])}{match[2].upper()}" if match else ""
    return name if name in S2_WAVELENGTHS else ""


def rgb_of(bands: Sequence[str]) -> list[str]:
    """The bands that are red, green and blue, if all three are known."""
    plain = {band.casefold(): band for band in bands}
    if all(colour in plain for colour in ("red", "green", "blue")):
        return [plain[colour] for colour in ("red", "green", "blue")]
    numbers = {s2_number(band): band for band in bands}
    if all(number in numbers for number in ("B4", "B3", "B2")):
        return [numbers[number] for number in ("B4", "B3", "B2")]
    return []


def slug(name: str) -> str:
    """A name for a part of a description: small letters, digits and underscores."""
    return "_".join(re.findall(r"[a-z0-9]+", name.casefold())) or "image"


def form(values: Iterable[str]) -> str:
    """A regular expression that some names match, and others of the same form."""
    known = sorted(set(values))
    runs = [re.findall(r"[A-Za-z]+|[0-9]+|[^A-Za-z0-9]+", value) for value in known]
    if known and len({tuple(_kind(run) for run in one) for one in runs}) == 1:
        return "".join(_expression(column) for column in zip(*runs, strict=True))
    letters = set("".join(known))
    for characters, text in (
        ("", r"\w+"),
        ("-", r"[\w-]+"),
        ("-.", r"[\w.-]+"),
        ("-. ", r"[\w .-]+"),
    ):
        if all(re.fullmatch(r"\w", letter) or letter in characters for letter in letters):
            return text
    return ".+"


def _kind(run: str) -> str:
    return "a" if run[0].isascii() and run[0].isalpha() else "0" if run[0].isdigit() else run


def _expression(runs: Sequence[str]) -> str:
    first = runs[0]
    kind = _kind(first)
    if kind == "0":
        return r"\d+"
    if kind != "a":
        return re.escape(first).replace(r"\ ", " ").replace(r"\-", "-")
    if all(run.isupper() for run in runs):
        return "[A-Z]+"
    return "[a-z]+" if all(run.islower() for run in runs) else "[A-Za-z]+"
