"""Whether two rasters cover the same ground."""

from patchpress.converter.encoding.tiff import Ground


def same_ground(
    one: Ground | None, other: Ground | None, shape: tuple[int, ...], tolerance: float
) -> bool:
    """Whether two rasters cover the same ground, to `tolerance` pixels of a grid of that shape."""
    if one is None or other is None:
        return one is other
    pixel = max(abs(other.right - other.left) / shape[1], abs(other.top - other.bottom) / shape[0])
    return one.epsg == other.epsg and all(
        abs(a - b) <= tolerance * pixel for a, b in zip(one[1:], other[1:], strict=True)
    )


def shown(ground: Ground | None) -> str:
    """A ground for sentences."""
    if ground is None:
        return "no known ground"
    return f"EPSG:{ground.epsg} {ground.left:g} {ground.bottom:g} {ground.right:g} {ground.top:g}"
