"""Tables in JSON: one object for all patches, a list of objects, an object a line, or GeoJSON.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchpress.converter.shortage import shortage
from patchpress.converter.sources.contents import START, content
from patchpress.converter.tables.one_type import of_one_type
from patchpress.converter.text import size
from patchpress.readers.errors import PatchpressError, SourceMissing, TableError

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST = 256 << 20  # bytes of a JSON table, at most: in memory it takes ten times as much
NAME, VALUE = "name", "value"
"""What the columns of an object of ``{name: value}`` are called."""
_GEO = "FeatureCollection"


class JsonTable:
    """A table of a JSON file, in memory.

    An object ``{name: value}`` has the columns `NAME` and `VALUE`; if each value is an object whose
    values are not all numbers, its members are the columns beside `NAME`. Shares of classes,
    ``[[class, share], …]`` or ``{class: share}``, become a list of structs. Of GeoJSON the columns
    are the properties of each feature, and its ``id``.
    """

    def __init__(self, path: Path, value_is_wanted: bool = False) -> None:
        """Read the file.

        Args:
            path: of the file.
            value_is_wanted: whether the description speaks of the column `VALUE`, so that objects
                in an object are shares.

        Raises:
            SourceMissing, TableError: no such file, too large, no JSON, or no table.
        """
        self.path = path
        self.notes: list[str] = []
        rows = self._rows(_parsed(path), value_is_wanted=value_is_wanted)
        names = list(dict.fromkeys(name for row in rows for name in row))
        self._columns = {name: self._column(name, rows) for name in names}
        self._count = len(rows)

    @property
    def schema(self) -> "pa.Schema":
        """Its columns."""
        import pyarrow as pa

        return pa.schema([(name, array.type) for name, array in self._columns.items()])

    def groups(self, columns: Sequence[str] | None = None) -> Iterator["pa.Table"]:
        """Its rows; all columns or some."""
        import pyarrow as pa

        wanted = list(self._columns if columns is None else columns)
        yield pa.table({name: self._columns[name] for name in wanted})

    def _rows(self, found: Any, *, value_is_wanted: bool) -> list[dict[str, Any]]:
        """The rows of what the file has."""
        if isinstance(found, dict) and found.get("type") == _GEO:
            if not isinstance(found.get("features"), list):
                raise TableError(f"{self.path} is a {_GEO} without features: download it again")
            return [self._feature(feature, n) for n, feature in enumerate(found["features"], 1)]
        if isinstance(found, list):
            for number, row in enumerate(found, 1):
                if not isinstance(row, dict):
                    raise TableError(
                        f"{self.path}: item {number} is {_shown(row)}, and an object with the "
                        "values of a patch is expected"
                    )
            return found
        if not isinstance(found, dict):
            raise TableError(f"{self.path} holds {_shown(found)}, and no table")
        cells = found.values()
        if not value_is_wanted and cells and all(isinstance(cell, dict) for cell in cells):
            for name, cell in found.items():
                if NAME in cell and cell[NAME] != name:
                    raise TableError(
                        f"{self.path}: {name!r} has a member {NAME!r} of its own: rename it"
                    )
            return [{NAME: name, **cell} for name, cell in found.items()]
        return [{NAME: name, VALUE: cell} for name, cell in found.items()]

    def _feature(self, feature: Any, number: int) -> dict[str, Any]:
        properties = feature.get("properties") if isinstance(feature, dict) else None
        if not isinstance(properties, dict):
            raise TableError(f"{self.path}: feature {number} has no properties")
        own = {"id": feature["id"]} if "id" in feature and "id" not in properties else {}
        return own | properties

    def _column(self, name: str, rows: Sequence[dict[str, Any]]) -> "pa.Array":
        """The values of a column, of one type."""
        import pyarrow as pa

        cells = [row.get(name) for row in rows]
        if shares := _as_shares(cells):
            kind = pa.struct([("name", pa.string()), ("share", pa.float64())])
            return pa.array(shares[0], pa.list_(kind))
        for number, cell in enumerate(cells, 1):
            if isinstance(cell, dict) or (isinstance(cell, list) and not _is_flat(cell)):
                # What is nested deeper is kept as text, so that nothing is lost in silence.
                self.notes.append(
                    f"{name} of {self.path.name} is kept as JSON text: row {number} has "
                    f"{_shown(cell)}"
                )
                return pa.array([None if c is None else json.dumps(c) for c in cells], pa.string())
        values = [tuple(cell) if isinstance(cell, list) else cell for cell in cells]
        try:
            array, mixed = of_one_type(values)
        except (pa.ArrowException, OverflowError):
            raise TableError(f"{self.path}: {name!r} has values that no column holds") from None
        if mixed:
            self.notes.append(f"{name} is of several types in {self.path.name}: {mixed}")
        return array


def _parsed(path: Path) -> Any:
    """What the file has; of several lines with an object each, a list of them.

    Raises:
        SourceMissing, TableError: it cannot be read, or is no JSON.
    """
    try:
        nbytes = path.stat().st_size
        if nbytes > LARGEST:
            raise TableError(
                f"{path} has {size(nbytes)}, and {size(LARGEST)} are allowed for a JSON table: "
                "give it as Parquet or CSV"
            )
        data = path.read_bytes()
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except FileNotFoundError:
        raise SourceMissing(f"there is no table {path}") from None
    except OSError as error:
        raise TableError(f"{path} cannot be read as a JSON table ({error.strerror})") from None
    except UnicodeDecodeError:
        found = content(data[:START])
        what = f"it is {found.name}" if found else "it is not UTF-8"
        raise TableError(f"{path} cannot be read as a JSON table: {what}") from None
    except MemoryError as error:
        raise PatchpressError(shortage(error) or "there is not enough memory") from None
    if not text.strip():
        raise TableError(f"{path} is empty: download it again")
    try:
        return json.loads(text, object_pairs_hook=_no_doubles)
    except RecursionError:
        raise TableError(f"{path} is nested thousands deep: no table is") from None
    except _NameTwice as error:
        raise TableError(f"{path} has {error.name!r} twice: remove one") from None
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) > 1 and lines[0].lstrip().startswith("{"):
            return [_line(path, number, line) for number, line in enumerate(lines, 1)]
        raise TableError(f"{path} is no JSON ({error})") from None


def _line(path: Path, number: int, line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path} is no JSON, and line {number} is none either ({error})") from None


class _NameTwice(Exception):
    """An object has a name twice, of which `json` would keep the last in silence."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise _NameTwice(next(name for name, count in counts.items() if count > 1))
    return found


def _as_shares(cells: Sequence[Any]) -> list[list[tuple[str, float]] | None] | None:
    """Cells as lists of (class, share), in a list of one; None if they are something else."""
    found: list[Any] = []
    any_pair = False
    for cell in cells:
        pairs: Any = list(cell.items()) if isinstance(cell, dict) else cell
        if pairs is None:
            found.append(None)
            continue
        if not isinstance(pairs, list) or not all(map(_is_pair, pairs)):
            return None
        any_pair = any_pair or bool(pairs)
        found.append([(name, float(share)) for name, share in pairs])
    return [found] if any_pair else None


def _is_pair(pair: Any) -> bool:
    return (
        isinstance(pair, (list, tuple))
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], (int, float))
        and not isinstance(pair[1], bool)
    )


def _is_flat(cell: list[Any]) -> bool:
    """Whether a list has values of one kind, and no null."""
    return len({type(item) for item in cell}) < 2 and not any(
        item is None or isinstance(item, (list, dict)) for item in cell
    )


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
