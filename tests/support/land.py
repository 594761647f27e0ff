"""Made-up land for made-up patches: fields, woods, a river, a town, cloud, as sensors see them.

Nothing here is measured. Mean spectra and radar returns are round numbers near what is published of
such covers, so that pictures look like land and a false colour shows what it should.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Codes = npt.NDArray[np.uint16]
Places = npt.NDArray[np.intp]

SIDE = 120
"""Pixels of 10 m along a side of a patch."""
BANDS = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")

# Cover -> reflectance x 10,000 in each of `BANDS`.
SPECTRA = {
    "sea":       (560, 480, 330, 170, 140, 120, 115, 105, 100, 95, 60, 40),
    "lake":      (430, 410, 390, 240, 210, 170, 165, 150, 140, 130, 80, 55),
    "conifer":   (260, 270, 400, 270, 600, 1500, 1850, 1950, 2100, 2150, 1000, 450),
    "broadleaf": (290, 310, 570, 330, 900, 2600, 3300, 3400, 3600, 3600, 1650, 760),
    "green":     (330, 390, 740, 430, 1150, 3100, 3950, 4100, 4250, 4200, 1850, 930),
    "bare":      (700, 930, 1300, 1720, 2000, 2150, 2300, 2450, 2550, 2600, 3250, 2750),
    "ripe":      (650, 880, 1330, 1700, 2150, 2600, 2800, 3000, 3100, 3200, 3500, 2500),
    "grass":     (360, 450, 830, 620, 1300, 2600, 3100, 3250, 3400, 3400, 2250, 1300),
    "scrub":     (380, 460, 700, 720, 1050, 1750, 1950, 2050, 2200, 2250, 2150, 1450),
    "roofs":     (950, 1120, 1300, 1450, 1560, 1720, 1850, 1950, 2000, 2050, 2200, 2000),
    "halls":     (1600, 1850, 2050, 2150, 2200, 2250, 2300, 2400, 2350, 2400, 2500, 2350),
    "sand":      (1350, 1750, 2250, 2700, 2900, 3000, 3100, 3200, 3250, 3200, 3750, 3400),
    "rock":      (820, 1000, 1230, 1420, 1520, 1620, 1720, 1800, 1850, 1850, 2250, 2050),
    "marsh":     (350, 420, 620, 530, 880, 1600, 1850, 1900, 2000, 1950, 1150, 620),
    "snow":      (8600, 8800, 8700, 8500, 8400, 8200, 8000, 7900, 7700, 7000, 900, 700),
    "cloud":     (5200, 5400, 5300, 5400, 5500, 5600, 5700, 5800, 5800, 5000, 4200, 3300),
}  # fmt: skip
# Cover -> VV and VH in decibels.
RADAR = {
    "sea": (-19, -27), "lake": (-20, -27), "conifer": (-9.5, -15), "broadleaf": (-9, -14.5),
    "green": (-11.5, -18), "bare": (-12.5, -21), "ripe": (-11, -18.5), "grass": (-12, -19.5),
    "scrub": (-11, -17.5), "roofs": (-4.5, -12), "halls": (-2, -11), "sand": (-17, -24.5),
    "rock": (-11, -19), "marsh": (-13.5, -20.5), "snow": (-14, -21), "cloud": (-11, -18),
}  # fmt: skip

# CORINE code -> two covers between which its parcels lie, and how large the parcels are in pixels.
LOOKS = {
    111: ("roofs", "halls", 5), 112: ("roofs", "grass", 5), 121: ("halls", "roofs", 12),
    122: ("roofs", "bare", 6), 124: ("halls", "grass", 20), 131: ("bare", "rock", 20),
    142: ("grass", "green", 16), 211: ("bare", "green", 22), 212: ("green", "ripe", 26),
    213: ("marsh", "green", 18), 221: ("scrub", "bare", 14), 222: ("broadleaf", "grass", 12),
    223: ("scrub", "ripe", 14), 231: ("grass", "green", 24), 241: ("green", "scrub", 12),
    242: ("bare", "green", 9), 243: ("broadleaf", "ripe", 14), 244: ("ripe", "broadleaf", 8),
    311: ("broadleaf", "green", 40), 312: ("conifer", "broadleaf", 60),
    313: ("conifer", "broadleaf", 14), 321: ("grass", "ripe", 30), 322: ("scrub", "grass", 24),
    323: ("scrub", "conifer", 12), 324: ("scrub", "broadleaf", 12), 331: ("sand", "bare", 40),
    332: ("rock", "scrub", 20), 333: ("rock", "ripe", 16), 411: ("marsh", "grass", 20),
    412: ("marsh", "scrub", 24), 421: ("marsh", "sea", 20), 422: ("sand", "sea", 24),
    511: ("lake", "lake", 60), 512: ("lake", "lake", 60), 521: ("sea", "lake", 60),
    522: ("sea", "lake", 60), 523: ("sea", "sea", 60), 999: ("rock", "bare", 30),
}  # fmt: skip
ONE_COVER = {311: 0.35, 312: 0.2}  # woods: their parcels differ less than fields do

_NAMES = list(SPECTRA)
_SPECTRA = np.array([SPECTRA[name] for name in _NAMES], np.float32)
_RADAR = np.array([RADAR[name] for name in _NAMES], np.float32)
_ALONG = np.arange(SIDE, dtype=np.float32)


class Land(NamedTuple):
    """A square of 1,200 m: each array is (120, 120), north up."""

    codes: Codes
    """CORINE codes."""
    first: Places
    """Number of the cover in `SPECTRA`, of each pixel."""
    second: Places
    """Number of the other cover that is mixed into it."""
    mixed: Floats
    """How much of the second, 0 to 1."""
    relief: Floats
    """Height, without a unit, of about unit variance."""


def _weights(knots: int) -> Floats:
    """Weights (120, knots) that interpolate linearly between knots."""
    at = np.linspace(0, knots - 1, SIDE)[:, None]
    weights: Floats = np.maximum(0, 1 - abs(at - np.arange(knots))).astype(np.float32)
    return weights


_COARSE, _FINE = _weights(6), _weights(31)


def smooth(rng: np.random.Generator, fine: float = 0.0) -> Floats:
    """Draw a smooth field (120, 120) of about unit variance, with a part of finer structure."""
    drawn: Floats = _COARSE @ (1.4 * rng.standard_normal((6, 6), np.float32)) @ _COARSE.T
    if fine:
        drawn += fine * (_FINE @ rng.standard_normal((31, 31), np.float32) @ _FINE.T)
    return drawn


def draw_areas(rng: np.random.Generator, codes: npt.NDArray[np.uint16]) -> Codes:
    """Draw areas of codes (120, 120) with winding borders.

    A water course is a winding band, a settlement lies round one place; the first of the other
    codes fills what is left.
    """
    bend = 9 * smooth(rng, 0.25), 9 * smooth(rng, 0.25)
    down, right = _ALONG[:, None] + bend[0], _ALONG + bend[1]
    bands = [code for code in codes.tolist() if code == 511]
    towns = [code for code in codes.tolist() if code < 200]
    ground = [code for code in codes.tolist() if code not in bands and code not in towns]
    drawn = np.full((SIDE, SIDE), (ground or [codes[0]])[0], np.uint16)
    if len(ground) > 1:
        seeds = rng.uniform(-10, 130, (len(ground) + 3, 2)).astype(np.float32)
        far = (down - seeds[:, :1, None]) ** 2 + (right - seeds[:, 1:, None]) ** 2
        drawn = np.array(ground, np.uint16)[far.argmin(0) % len(ground)]
    for code in towns:
        y, x = rng.uniform(25, 95, 2)
        reach = rng.uniform(18, 38)
        drawn[(down - y) ** 2 + (right - x) ** 2 < reach**2] = code
    for code in bands:
        slope, shift, wide = rng.uniform(-0.6, 0.6), rng.uniform(35, 85), rng.uniform(3, 7)
        across = down - shift - slope * (right - 60)
        drawn[abs(across if rng.random() < 0.5 else across.T) < wide] = code
    return drawn


def draw_land(rng: np.random.Generator, codes: Codes) -> Land:
    """Draw what grows on areas of codes (120, 120): parcels, streets, mixtures, relief."""
    first, second = np.zeros((2, SIDE, SIDE), np.intp)
    mixed = np.zeros((SIDE, SIDE), np.float32)
    grain = smooth(rng, 0.8)
    turn = rng.uniform(0, np.pi)
    for code in np.unique(codes).tolist():
        one, other, size = LOOKS[code]
        here = codes == code
        first[here], second[here] = _NAMES.index(one), _NAMES.index(other)
        parcels = _parcels(rng, size, turn + rng.uniform(-0.2, 0.2))
        share = ONE_COVER.get(code, 1.0) * rng.random(parcels.max() + 1, np.float32)[parcels]
        mixed[here] = share[here]
        if code < 200:  # streets between blocks of houses
            street = (np.diff(parcels, axis=0, prepend=parcels[:1]) != 0) | (
                np.diff(parcels, axis=1, prepend=parcels[:, :1]) != 0
            )
            second[here & street] = _NAMES.index("rock")
            mixed[here & street] = 0.9
    natural = (codes > 310) & (codes < 500)
    mixed[natural] = 0.5 * mixed[natural] + 0.35 + 0.25 * grain[natural]
    np.clip(mixed, 0, 1, out=mixed)
    return Land(codes, first, second, mixed, smooth(rng, 0.2))


def _parcels(rng: np.random.Generator, size: int, turn: float) -> Places:
    """Draw oblong parcels in rows: a number of each pixel, (120, 120)."""
    cos, sin = np.float32(np.cos(turn)), np.float32(np.sin(turn))
    along = cos * _ALONG + sin * _ALONG[:, None] + 240
    across = cos * _ALONG[:, None] - sin * _ALONG + 240
    row = (across // (0.7 * size)).astype(np.intp)
    starts = size * rng.random(row.max() + 1, np.float32)
    column = ((along + starts[row]) // (1.6 * size)).astype(np.intp)
    numbers: Places = row * (column.max() + 1) + column
    return numbers


def draw_haze(rng: np.random.Generator, land: Land, kind: str) -> tuple[Floats, Floats]:
    """Draw snow or cloud over land.

    Args:
        rng: random numbers.
        land: what lies below.
        kind: `snow` or `cloud`.

    Returns:
        How much of each pixel is covered, and how much light falls on it (less in the shadow of a
        cloud): (120, 120) each, 0 to 1.
    """
    field = smooth(rng, 0.35)
    cover = np.clip(1.6 * (field - np.quantile(field, 0.3)), 0, 1).astype(np.float32)
    light = np.ones_like(cover)
    if kind == "cloud":
        light -= 0.55 * np.roll(cover, (9, -7), (0, 1)) * (1 - cover)
    else:
        cover *= np.float32(0.9) * (1 - 0.7 * np.isin(land.first, _WOODS))
    return cover, light


_WOODS = [_NAMES.index("conifer"), _NAMES.index("broadleaf")]


def reflectance(rng: np.random.Generator, land: Land, haze: str | None = None) -> Floats:
    """Give reflectance x 10,000, (12, 120, 120) in the order of `BANDS`, of 10 m each."""
    seen = _mixture(_SPECTRA, land)
    light = 1 + np.float32(0.5) * (np.diff(land.relief, axis=1, append=land.relief[:, -1:]))
    light *= 1 + np.float32(0.03) * rng.standard_normal((SIDE, SIDE), np.float32)
    if haze:
        cover, sun = draw_haze(rng, land, haze)
        seen *= light * sun
        seen += cover * (_SPECTRA[_NAMES.index(haze)][:, None, None] - seen)
        return _blurred(seen)
    seen *= light
    return _blurred(seen)


def backscatter(rng: np.random.Generator, land: Land) -> Floats:
    """Give VV and VH in decibels, (2, 120, 120), with the speckle of about five looks."""
    power: Floats = np.power(10, _mixture(_RADAR, land) / 10, dtype=np.float32)
    slope = np.diff(land.relief, axis=1, prepend=land.relief[:, :1])
    speckle = rng.standard_gamma(5, (2, SIDE, SIDE), np.float32) / 5
    decibels: Floats = 10 * np.log10(_blurred(power) * speckle) + 4 * slope
    return decibels


def _mixture(table: Floats, land: Land) -> Floats:
    """Values (columns of the table, 120, 120) of two covers, mixed."""
    one = table[land.first]
    one += land.mixed[..., None] * (table[land.second] - one)
    return np.ascontiguousarray(np.moveaxis(one, -1, 0))


def _blurred(values: Floats) -> Floats:
    """A little of each pixel's neighbours, as a telescope sees."""
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1)), mode="edge")
    rows = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    blurred: Floats = (rows[..., :-2] + 2 * rows[..., 1:-1] + rows[..., 2:]) / 16
    return blurred
