"""What manifest.json must be: its schema, and what its fields say of one another."""

import re
from typing import Any

import numpy as np

from patchpress.readers.format.compression import CODECS
from patchpress.readers.format.record import RECORD_LIMIT, SAFETENSORS_DTYPES
from patchpress.readers.format.schema import (
    EitherOf,
    FieldError,
    Fields,
    List,
    Number,
    OneOf,
    Optional,
    Table,
    Text,
    Truth,
    Whole,
)
from patchpress.readers.format.shard_rule import (
    INDEX_OF_ARCHIVES,
    MOST_SHARDS,
    ONE_FILE,
    SHARD_PATH,
    shard_path,
)

KEY = r"[^{}]*\{[^{}:!\[\].]+\}[^{}]*"
MOST_STEPS = 10_000  # of a time axis
LEAST_RECORD = 16  # bytes that a record takes in its data file at the very least
_NAME = Text(least=1)
SHA256 = Text(r"sha256:[0-9a-f]{64}", "`sha256:` and 64 hexadecimal digits")
_SCALAR = Optional(EitherOf((Truth(), Whole(least=-(1 << 53)), Number(), Text())))
_COUNTS = Table(Table(Whole()))  # split -> rows, or modality -> count

BAND = Fields(
    {
        "name": _NAME,
        "gsd": Number(positive=True),
        "dtype": OneOf(tuple(SAFETENSORS_DTYPES)),
        "shape": List(Whole(least=1, most=1 << 20), least=2, most=2),
    }
)
MODALITY = Fields(
    {
        "title": Text(),
        "kind": OneOf(("image", "classes")),
        "key": Text(KEY, "text with the name of one column in braces"),
        "layout": OneOf(("stacked", "native")),
        "resampling": OneOf(("nearest", "bilinear", "cubic")),
        "compression": Fields(
            {"codec": OneOf(CODECS), "level": Whole(least=-(1 << 20), most=1 << 20)}
        ),
        "bands": List(BAND, least=1, most=10_000),
        "records": Whole(),
        "rgb": List(_NAME, most=3, different=True),
        "any_size": Truth(),
        "size": OneOf(("keep", "crop", "pad", "resize")),
        "codes": Table(
            Table(Optional(Whole()), names=Text(r"-?\d{1,20}", "a code, as text")),
        ),
        "steps": Whole(least=1, most=MOST_STEPS),
    },
    may_lack=frozenset({"steps"}),
)
SHARD = Fields(
    {
        "path": Text(
            rf"{SHARD_PATH}|{re.escape(INDEX_OF_ARCHIVES)}",
            f"`data.mdb`, `shards/00000/data.mdb` or `{INDEX_OF_ARCHIVES}`",
        ),
        "records": Whole(),
        "bytes": Whole(least=1),
        "digest": SHA256,
    }
)
MANIFEST = Fields(
    {
        "format": Text(),
        "format_version": Whole(),
        "dataset": Fields(
            {name: Text() for name in ("name", "version", "title", "licence", "citation", "url")}
        ),
        "modalities": Table(MODALITY, least=1, most=1_000),
        "classes": Table(List(Text(), different=True)),
        "numbers": List(Text(least=1), least=1, different=True),
        "target": Optional(Text()),
        "rows": Whole(),
        "splits": _COUNTS,
        "split_column": _NAME,
        "flagged": Fields(
            {"columns": List(_NAME, different=True), "rows": Whole(), "splits": _COUNTS}
        ),
        "metadata_digest": SHA256,
        "shards": List(SHARD, least=1, most=MOST_SHARDS),
        "options": Table(_SCALAR),
        "software": Table(Text()),
    },
    may_lack=frozenset({"numbers"}),
)


def check_manifest(content: dict[str, Any]) -> None:
    """Make sure of the content of a manifest.

    Raises:
        FieldError: a field is not what its schema says, or contradicts another; it is named.
    """
    MANIFEST.check(content, "")
    _check_shards(content["shards"])
    for name, modality in content["modalities"].items():
        _check_modality(f"modalities.{name}", modality, content["classes"])
    targets = [*content["classes"], *content.get("numbers", ())]
    if content["target"] is not None and content["target"] not in targets:
        raise FieldError(f"target names {content['target']!r}, which `classes` does not have")
    twice = next((name for name in targets if targets.count(name) > 1), None)
    if twice is not None:
        raise FieldError(f"numbers names {twice!r}, which `classes` has")
    records = sum(shard["records"] for shard in content["shards"])
    if content["rows"] > records:
        raise FieldError(f"rows promises {content['rows']:,} rows of {records:,} records")
    known = {"rows", *content["modalities"]}
    flagged = content["flagged"]
    for field, splits in (("splits", content["splits"]), ("flagged.splits", flagged["splits"])):
        for split, counts in splits.items():
            if set(counts) != known:
                other = sorted(set(counts) ^ known)[0]
                raise FieldError(f"{field}.{split} must count rows and each modality ({other!r})")
    for split, counts in flagged["splits"].items():
        for name, count in counts.items():
            if count > content["splits"].get(split, {}).get(name, -1):
                raise FieldError(f"flagged.splits.{split}.{name} is more than `splits` counts")


def _check_shards(shards: list[dict[str, Any]]) -> None:
    paths = [shard["path"] for shard in shards]
    numbered = [shard_path(number) for number in range(len(paths))]
    if paths not in ([ONE_FILE], [INDEX_OF_ARCHIVES], numbered):
        raise FieldError(
            f"shards must be `{ONE_FILE}` or `{INDEX_OF_ARCHIVES}` alone, or `{numbered[0]}` and "
            "so on without a gap"
        )
    for shard in shards:
        if shard["records"] * LEAST_RECORD > shard["bytes"]:
            raise FieldError(
                f"shards promises {shard['records']:,} records in {shard['bytes']:,} bytes"
            )


def _check_modality(field: str, modality: dict[str, Any], classes: dict[str, list[str]]) -> None:
    names = [band["name"] for band in modality["bands"]]
    if len(set(names)) < len(names):
        raise FieldError(f"{field}.bands has a name twice")
    strange = next((name for name in modality["rgb"] if name not in names), None)
    if strange is not None or len(modality["rgb"]) not in (0, 3):
        raise FieldError(f"{field}.rgb must name three bands, or none, not {strange!r}")
    if modality["layout"] == "stacked" and len({b["dtype"] for b in modality["bands"]}) > 1:
        raise FieldError(f"{field}.bands must be of one dtype to be stacked")
    height, width = (max(band["shape"][axis] for band in modality["bands"]) for axis in (0, 1))
    itemsize = np.dtype(modality["bands"][0]["dtype"]).itemsize
    steps = modality.get("steps", 1)
    if "steps" in modality and modality["any_size"]:
        raise FieldError(f"{field}.steps is of records of one size, but any_size is true")
    if steps * len(names) * height * width * itemsize > RECORD_LIMIT:
        raise FieldError(f"{field}.bands has a shape of more than {RECORD_LIMIT:,} bytes")
    for column, codes in modality["codes"].items():
        known = len(classes.get(column, ()))
        beyond = next((i for i in codes.values() if i is not None and i >= known), None)
        if beyond is not None and column in classes:
            raise FieldError(f"{field}.codes.{column} has the class {beyond} of {known}")
