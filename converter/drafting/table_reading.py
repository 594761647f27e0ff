"""The beginning of a table, a list or a JSON text, as columns of values."""

import csv
import json
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchpress.converter.tables.delimiter import delimiter_in

ROWS = 20_000  # of a table that are read
LARGEST = 64 << 20  # bytes of a text that is read


@dataclass(slots=True)
class ReadTable:
    """What was read of one table or list."""

    columns: dict[str, list[Any]]
    has_header: bool
    whole: bool
    is_object: bool = False
    """Whether it is a JSON object of names and values."""


def read_table(path: Path) -> ReadTable | None:
    """Columns of a table; None if the file is no table."""
    ending = path.suffix.lower()
    if ending == ".parquet":
        return _read_parquet(path)
    if path.stat().st_size > LARGEST:
        raise ValueError("it is larger than 64 MB")
    if ending in (".json", ".geojson"):
        return _read_json(path)
    return _read_text(path)


def _read_parquet(path: Path) -> ReadTable:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            rows = file.metadata.num_rows
            plain = [field.name for field in file.schema_arrow if _is_plain(field.type)]
            batch = next(file.iter_batches(batch_size=ROWS, columns=plain), None)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(str(error).splitlines()[0]) from None
    columns = batch.to_pydict() if batch is not None else {}
    return ReadTable(columns, has_header=True, whole=rows <= ROWS)


def _is_plain(kind: Any) -> bool:
    import pyarrow as pa

    inner = kind.value_type if pa.types.is_list(kind) or pa.types.is_large_list(kind) else kind
    return bool(
        pa.types.is_string(inner)
        or pa.types.is_large_string(inner)
        or pa.types.is_integer(inner)
        or pa.types.is_boolean(inner)
        or pa.types.is_dictionary(inner)
    )


def _read_text(path: Path) -> ReadTable | None:
    text = path.read_bytes().decode("utf-8-sig")
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise ValueError("it is empty")
    rows = list(csv.reader(lines[: ROWS + 1], delimiter=delimiter_in(lines[0])))
    width = Counter(map(len, rows)).most_common(1)[0][0]
    header = rows[0]
    named = len(set(header)) == len(header) and not any(re.search(r"\d", one) for one in header)
    has_header = named and len(rows) > 1 and len(header) == width
    names = header if has_header else [f"column {number}" for number in range(1, width + 1)]
    body = [row for row in rows[has_header:] if len(row) == width]
    columns = {name.strip(): [row[at].strip() for row in body] for at, name in enumerate(names)}
    return ReadTable(columns, has_header=has_header, whole=len(lines) <= ROWS)


def _read_json(path: Path) -> ReadTable | None:
    content = json.loads(path.read_bytes())
    if isinstance(content, dict) and isinstance(content.get("features"), list):
        content = [one.get("properties") for one in content["features"] if isinstance(one, dict)]
    if isinstance(content, dict):
        columns = {"name": list(content), "value": list(content.values())}
        return ReadTable(columns, has_header=True, whole=True, is_object=True)
    if isinstance(content, list) and content and all(isinstance(one, dict) for one in content):
        names = list(dict.fromkeys(name for row in content[:100] for name in row))
        return ReadTable(
            {name: [row.get(name) for row in content[:ROWS]] for name in names},
            has_header=True,
            whole=len(content) <= ROWS,
        )
    return None
