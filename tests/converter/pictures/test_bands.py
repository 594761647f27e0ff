"""One patch with all its bands: names, wavelengths, and ranges."""

from collections.abc import Callable

import pytest

from patchpress.converter.pictures.asked import PictureAsked
from patchpress.converter.pictures.bands import bands_of_patch
from patchpress.readers.errors import OptionError
from tests.converter.pictures.conftest import all_text, check_texts, texts


@pytest.mark.parametrize("layout", ["stacked", "native"])
def test_every_band_is_shown_with_its_wavelength(
    asked: Callable[..., PictureAsked], layout: str
) -> None:
    store = asked(layout).store
    key = store.keys("s1")[2]
    page = bands_of_patch(asked(layout, keys=(key,)))
    shown = texts(page)
    assert shown[0] == store.keys("s2")[2]
    assert "B05, 704 nm" in shown
    assert "B12, 2202 nm" in shown
    assert "VV" in shown
    assert sum(len(axes.images) for axes in page.figure.axes) == 4 + 12 + 2
    sizes = {axes.images[0].get_array().shape[0] for axes in page.figure.axes}
    assert sizes == ({20, 60, 120} if layout == "native" else {120})
    assert "s2: Sentinel-2 L2A, surface reflectance x 10,000" in shown
    check_texts(page)


def test_without_a_description_there_are_no_wavelengths(
    asked: Callable[..., PictureAsked],
) -> None:
    page = bands_of_patch(asked(description=None))
    assert "nm" not in all_text(page)
    assert "False colour" not in all_text(page)
    assert "Colour" in texts(page)


def test_it_is_of_one_patch(asked: Callable[..., PictureAsked]) -> None:
    with pytest.raises(OptionError, match="count is 4"):
        bands_of_patch(asked(count=4))
