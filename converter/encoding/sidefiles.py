"""Georeference that lies beside an image: GDAL's ``.aux.xml``, world files, MapInfo's ``.tab``.

Other files beside a TIFF (``.ovr``, ``.msk``, statistics in ``.aux.xml``) do not change its pixels.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from uuid import uuid4

from patchpress.converter.encoding.gdal import quiet_gdal
from patchpress.converter.encoding.tiff import Georeference, Ground, ground_of
from patchpress.converter.sources.files import DiskFiles, PatchFiles
from patchpress.converter.sources.side_files import files_beside
from patchpress.readers.errors import PatchError

_LARGEST = 1 << 20  # bytes of such a file


def ground_with_files_beside(name: str, files: PatchFiles, driver: str = "GTiff") -> Ground | None:
    """The ground of an image of a patch, as GDAL has it of the image and of all files beside it.

    Raises:
        PatchError: GDAL does not open it, or a file beside it is damaged or far too large.
    """
    import rasterio

    path = files.path(name)
    with _for_gdal(name, files) as opened:
        try:
            with quiet_gdal(), rasterio.open(opened, driver=driver) as source:
                if source.transform.is_identity:
                    return None
                epsg = source.crs.to_epsg() if source.crs else None
                known = Georeference(epsg, tuple(source.transform[:6]))
                return ground_of(known, source.height, source.width)
        except Exception as error:  # not all errors of GDAL are a RasterioError
            found = str(error).replace(opened, path)
            raise PatchError(
                f"{path} cannot be opened with the files beside it ({found})"
            ) from None


@contextmanager
def _for_gdal(name: str, files: PatchFiles) -> Iterator[str]:
    """A path by which GDAL opens an image and the files beside it: of memory, if they lie in none.

    Raises:
        PatchError: a file is damaged, or one beside the image is far too large.
    """
    import rasterio

    if isinstance(files, DiskFiles):
        path = files.path(name)
        for beside in files_beside(path):
            if os.path.isfile(beside) and os.path.getsize(beside) > _LARGEST:
                raise PatchError(f"{beside} is no file of a georeference: it has more than 1 MB")
        yield path
        return
    stem, ending = os.path.splitext(name)
    with ExitStack() as stack:
        folder = uuid4().hex  # of GDAL's memory, in which other threads have files, too
        there = [beside for beside in files_beside(name) if files.has(beside)]
        for one in (*there, name):
            data = files.read(one)
            if one != name and len(data) > _LARGEST:
                raise PatchError(
                    f"{files.path(one)} is no file of a georeference: it has more than 1 MB"
                )
            # A name of its own could have what GDAL takes for something else.
            short = f"image{one[len(stem) :]}"
            stack.enter_context(rasterio.MemoryFile(data, dirname=folder, filename=short))
        yield f"/vsimem/{folder}/image{ending}"
