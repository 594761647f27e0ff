"""croissant.json: what a folder for the Hugging Face Hub holds, in the vocabulary of MLCommons."""

import json
import re
from collections.abc import Sequence
from typing import Any

from patchpress.converter.exports.hub_folder import HubFolder
from patchpress.converter.exports.hub_pixels import Feature, PixelColumn

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
FILES, RECORDS = "parquet-files", "patches"
_TYPES = {
    "bool": "sc:Boolean",
    "string": "sc:Text",
    "binary": "sc:Text",
    "float16": "cr:Float16",
    "float32": "cr:Float32",
    "float64": "cr:Float64",
    **{f"int{bits}": f"cr:Int{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"cr:UInt{bits}" for bits in (8, 16, 32, 64)},
}


def croissant_bytes(hub: HubFolder) -> bytes:
    """The content of croissant.json, which describes a folder whose other files are whole."""
    dataset = hub.selection.manifest.dataset
    title = dataset.title or dataset.name
    found: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": re.sub(r"[^A-Za-z0-9_-]+", "-", dataset.name).strip("-") or "patches",
        "alternateName": title,
        "description": f"{title}: {hub.count:,} satellite patches, one row a patch.",
        "license": dataset.licence or "unknown",
        "version": _version(dataset.version),
    }
    if dataset.url:
        found["url"] = dataset.url
    if dataset.citation:
        found["citeAs"] = dataset.citation
    found["distribution"] = [_file_set(), *_file_objects(hub)]
    found["recordSet"] = [_patches(hub), *_class_sets(hub)]
    return json.dumps(found, indent=1, ensure_ascii=False).encode() + b"\n"


def _version(version: str) -> str:
    """As MAJOR.MINOR.PATCH, which the vocabulary asks for, if it begins like that."""
    numbers = re.match(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?$", version)
    return ".".join(one or "0" for one in numbers.groups()) if numbers else version or "1.0.0"


def _file_set() -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": FILES,
        "name": FILES,
        "description": "One row a patch; the name of a file begins with that of its split.",
        "encodingFormat": "application/x-parquet",
        "includes": "data/*.parquet",
    }


def _file_objects(hub: HubFolder) -> list[dict[str, Any]]:
    return [
        {
            "@type": "cr:FileObject",
            "@id": path,
            "name": path,
            "contentUrl": path,
            "encodingFormat": "application/x-parquet",
            "sha256": split.digests[path],
        }
        for split in hub.splits
        for path in split.files
    ]


def _patches(hub: HubFolder) -> dict[str, Any]:
    rows = hub.rows
    fields = [
        _field(rows.key, "sc:Text", "Name of the patch."),
        _field(rows.image, "sc:ImageObject", f"To look at: {hub.picture}", json_path="bytes"),
        *(_pixel_field(column) for column in rows.pixels),
    ]
    left_out = {rows.key, rows.image, *(column.name for column in rows.pixels)}
    for name, feature in rows.features.items():
        if name not in left_out:
            fields += _table_field(name, feature)
    return {
        "@type": "cr:RecordSet",
        "@id": RECORDS,
        "name": RECORDS,
        "description": f"{hub.count:,} patches: "
        + ", ".join(f"{one.rows:,} {one.name}" for one in hub.splits),
        "key": {"@id": f"{RECORDS}/{rows.key}"},
        "field": fields,
    }


def _field(
    name: str,
    kind: str,
    description: str,
    *,
    json_path: str = "",
    shape: Sequence[int] | None = None,
) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": FILES}, "extract": {"column": name}}
    if json_path:
        source["transform"] = {"jsonPath": json_path}
    found: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{RECORDS}/{name}",
        "name": name,
        "description": description,
        "dataType": kind,
        "source": source,
    }
    if shape is not None:
        found |= {"isArray": True, "arrayShape": ",".join(map(str, shape))}
    return found


def _pixel_field(column: PixelColumn) -> dict[str, Any]:
    bands = ", ".join(band.name for band in column.bands)
    shape = [-1 if size is None else size for size in column.shape]
    words = f"{column.modality.title or column.modality.name}. Bands: {bands}"
    return _field(column.name, _TYPES[column.dtype], words, shape=shape)


def _table_field(name: str, feature: Feature) -> list[dict[str, Any]]:
    """A column of the table; none for one whose type the vocabulary does not have."""
    shape = None
    if feature.get("_type") == "List":
        feature, shape = feature["feature"], [-1]
    if feature.get("_type") == "ClassLabel":
        found = _field(name, "sc:Integer", f"Numbers of classes, see {name}-classes.", shape=shape)
        return [found]
    if feature.get("_type") != "Value":
        return []
    dtype = str(feature["dtype"])
    dated = "sc:DateTime" if dtype.startswith("timestamp") else "sc:Date"
    kind = dated if dtype.startswith(("timestamp", "date")) else _TYPES.get(dtype)
    return [] if kind is None else [_field(name, kind, f"Column {name} of the table.", shape=shape)]


def _class_sets(hub: HubFolder) -> list[dict[str, Any]]:
    """For each label column the names of the classes by their number."""
    found = []
    for column in hub.rows.columns:
        if not column.classes:
            continue
        name = f"{column.name}-classes"
        found.append(
            {
                "@type": "cr:RecordSet",
                "@id": name,
                "name": name,
                "dataType": "sc:Enumeration",
                "key": {"@id": f"{name}/number"},
                "field": [
                    _class_field(name, "number", "sc:Integer"),
                    _class_field(name, "name", "sc:Text"),
                ],
                "data": [
                    {f"{name}/number": number, f"{name}/name": one}
                    for number, one in enumerate(column.classes)
                ],
            }
        )
    return found


def _class_field(record_set: str, name: str, kind: str) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": f"{record_set}/{name}", "name": name, "dataType": kind}
