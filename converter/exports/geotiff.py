"""GeoTIFFs: the way back from a store, with georeference and band names, in each band's own size.

A patch has one file a modality if its bands have one size and dtype, else one file a band.
"""

import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchpress.converter.exports.exported import Written
from patchpress.converter.exports.names import FileNames
from patchpress.converter.exports.own_size import bands_own_size, own_size_notes
from patchpress.converter.exports.samples import absent_notes
from patchpress.converter.exports.selection import ExportedRows, ExportSelection
from patchpress.converter.progress import Progress
from patchpress.readers.errors import OptionError
from patchpress.readers.format.manifest import METADATA
from patchpress.readers.format.modality import Modality
from patchpress.readers.format.table import EPSG, SIDES
from patchpress.readers.format.time_axis import dates_column, step_counts

if TYPE_CHECKING:
    import pyarrow as pa

Array = npt.NDArray[Any]
FOLDER_FILES = 10_000
"""Patches a folder: more slow many file systems down."""


@dataclass(frozen=True)
class PatchGround:
    """Where a patch lies; None for what the table does not tell."""

    epsg: int | None
    bounds: tuple[float, float, float, float] | None
    """Left, bottom, right, top."""


def export_geotiff(
    selection: ExportSelection, folder: Path, progress: Progress, *, deflate: bool
) -> Written:
    """Write the records of some rows as GeoTIFFs, and the table with the paths of their files.

    Args:
        selection: the rows.
        folder: an empty one, which is filled.
        progress: told of each patch.
        deflate: whether files are compressed.

    Raises:
        OptionError: a dtype that GDAL does not write.
        StoreDamaged: a record differs from its checksum.
    """
    import pyarrow.parquet as pq
    from rasterio.errors import NotGeoreferencedWarning

    for modality in selection.modalities.values():
        _require_dtypes(modality)
    files = _Files(folder, deflate=deflate)
    columns = _path_columns(selection)
    schema = _with_paths(
        selection.schema.empty_table(), {name: [] for name in columns}, columns
    ).schema
    with (
        warnings.catch_warnings(),
        pq.ParquetWriter(folder / METADATA, schema, compression="zstd") as table,
    ):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # counted, and told at the end
        for rows in selection.batches():
            paths = _write_rows(selection, rows, files, progress)
            table.write_table(_with_paths(rows.table, paths, columns))
    absent = absent_notes(selection, files.written, "rows without {name}, which have no file of it")
    return replace(files.written, notes=[*absent, *own_size_notes(selection), *files.notes()])


def _require_dtypes(modality: Modality) -> None:
    from rasterio.dtypes import check_dtype

    for band in modality.bands:
        if not check_dtype(np.dtype(band.dtype).name):
            raise OptionError(
                f"band {band.name} of {modality.name} is {band.dtype}, which GeoTIFFs do not "
                "have here: leave that modality out (--modality)"
            )


def _path_columns(selection: ExportSelection) -> dict[str, str]:
    """Modality -> the column with the path of its file or of the folder of its files."""
    taken, found = set(selection.schema.names), {}
    for name in selection.modalities:
        column = f"{name}_path"
        while column in taken:
            column += "_"
        found[name] = column
        taken.add(column)
    return found


def _with_paths(
    table: "pa.Table", paths: Mapping[str, list[str | None]], columns: Mapping[str, str]
) -> "pa.Table":
    import pyarrow as pa

    for name, found in paths.items():
        table = table.append_column(columns[name], pa.array(found, pa.string()))
    return table


def _write_rows(
    selection: ExportSelection, rows: ExportedRows, files: "_Files", progress: Progress
) -> dict[str, list[str | None]]:
    """Write the files of some rows; gives for each modality the path of each row's."""
    grounds = _grounds(rows.table)
    paths: dict[str, list[str | None]] = {name: [] for name in selection.modalities}
    steps = {
        name: step_counts(modality, rows.table)
        for name, modality in selection.modalities.items()
        if modality.steps
    }
    for number in range(len(rows.table)):
        before = files.written.bytes
        for name, modality in selection.modalities.items():
            key = rows.keys[name][number]
            if key is None:
                paths[name].append(None)
                continue
            bands = bands_own_size(selection.pixels(name), key)
            present = int(steps[name][number]) if modality.steps else None
            dates = _dates(rows.table, name, number)
            paths[name].append(files.write(modality, key, bands, grounds[number], present, dates))
            files.written.add(name)
        progress.advance(1, files.written.bytes - before)
    return paths


def _grounds(table: "pa.Table") -> list[PatchGround]:
    def column(name: str) -> list[Any]:
        return table[name].to_pylist() if name in table.column_names else [None] * len(table)

    sides = zip(*map(column, SIDES), strict=True)
    return [
        PatchGround(
            epsg, None if any(v is None or not np.isfinite(v) for v in four) else tuple(four)
        )
        for epsg, four in zip(column(EPSG), sides, strict=True)
    ]


def _dates(table: "pa.Table", modality: str, number: int) -> list[Any]:
    name = dates_column(modality)
    return (table[name][number].as_py() or []) if name in table.column_names else []


class _Files:
    """The files of an export, and what is told of them."""

    def __init__(self, folder: Path, *, deflate: bool) -> None:
        self._folder, self._deflate = folder, deflate
        self._names = FileNames()
        self._systems: dict[int, Any] = {}
        self._folders: dict[str, tuple[int, str]] = {}
        self._absent = {"place": set[str](), "system": set[str]()}
        self.written = Written()

    def notes(self) -> list[str]:
        """What is told of them."""
        told = self._names.note()
        if self._absent["place"]:
            told.append(
                "records without a georeference, since the table has no bounds for them: "
                f"{len(self._absent['place']):,}"
            )
        if self._absent["system"]:
            told.append(
                "records with a transform and no reference system, since the table has none that "
                f"GDAL knows: {len(self._absent['system']):,}"
            )
        return told

    def write(
        self,
        modality: Modality,
        key: str,
        bands: Mapping[str, Array],
        ground: PatchGround,
        present: int | None,
        dates: list[Any],
    ) -> str:
        """Write a record; gives the path of its file, or of the folder of its files."""
        name = self._names.of(key)
        if ground.bounds is None:
            self._absent["place"].add(key)
        elif self._system(ground.epsg) is None:
            self._absent["system"].add(key)
        above = self._above(modality.name)
        parts = list(_parts(bands, present))
        is_one = len(parts) == 1 and not parts[0][0]
        path = f"{above}/{name}.tif" if is_one else f"{above}/{name}"
        if not is_one:
            (self._folder / path).mkdir()
        for ending, step, some in parts:
            file = path if is_one else f"{path}/{name}{ending}.tif"
            date = dates[step] if step is not None and step < len(dates) else None
            self._write(self._folder / file, some, ground, date)
        return path

    def _above(self, modality: str) -> str:
        """The folder of the next record of a modality."""
        from urllib.parse import quote

        count, above = self._folders.get(modality, (0, ""))
        if count % FOLDER_FILES == 0:
            above = quote(modality, safe="")
            if count:
                above = f"{above}-{count // FOLDER_FILES}"
            (self._folder / above).mkdir()
        self._folders[modality] = (count + 1, above)
        return above

    def _system(self, epsg: int | None) -> Any:
        """The reference system of a code; None if GDAL knows none."""
        if epsg is None:
            return None
        if epsg not in self._systems:
            import rasterio
            from rasterio.crs import CRS
            from rasterio.errors import CRSError

            try:
                with rasterio.Env():  # else GDAL writes about an unknown code on stderr
                    self._systems[epsg] = CRS.from_epsg(epsg)
            except CRSError:
                self._systems[epsg] = None
        return self._systems[epsg]

    def _write(
        self, path: Path, bands: Mapping[str, Array], ground: PatchGround, date: Any
    ) -> None:
        import rasterio

        pixels = np.stack(list(bands.values()))
        count, height, width = pixels.shape
        options: dict[str, Any] = {"photometric": "minisblack"}  # GDAL would call a 4th band alpha
        if ground.bounds is not None:
            left, bottom, right, top = ground.bounds
            across, down = (right - left) / width, (bottom - top) / height
            options["transform"] = rasterio.Affine(across, 0, left, 0, down, top)
            options["crs"] = self._system(ground.epsg)
        if self._deflate:
            options["compress"] = "deflate"
        with rasterio.open(
            path,
            "w",
            driver="GTiff",
            count=count,
            height=height,
            width=width,
            dtype=pixels.dtype.name,
            **options,
        ) as file:
            file.write(pixels)
            file.descriptions = tuple(bands)
            if date is not None:
                file.update_tags(TIFFTAG_DATETIME=date.strftime("%Y:%m:%d %H:%M:%S"))
        self.written.files += 1
        self.written.bytes += pixels.nbytes


def _parts(
    bands: Mapping[str, Array], present: int | None
) -> Iterator[tuple[str, int | None, Mapping[str, Array]]]:
    """(end of its name, step of the time axis, bands) for each file of a record."""
    alike = len({(band.shape, band.dtype) for band in bands.values()}) == 1
    together = [("", dict(bands))] if alike else []
    groups = together or [
        (f"_{FileNames().of(name)}", {name: band}) for name, band in bands.items()
    ]
    if present is None:
        yield from ((ending, None, some) for ending, some in groups)
        return
    for step in range(present):
        for ending, some in groups:
            yield f"_{step:02}{ending}", step, {name: band[step] for name, band in some.items()}
