"""Labels from CSV, Parquet, JSON and GeoJSON: every form of a cell, and what is wrong with one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from patchpress import Samples, convert, open_store
from patchpress.readers.errors import SamplesLeftOut
from tests.support.ponds import NAMES, convert_ponds, described_ponds, ponds

CLASSES = 'classes = ["Meadow", "Pond", "Reed"]'


def column(store: Path, name: str) -> dict[str, Any]:
    table = open_store(store).table(columns=["patch_id", name])
    return dict(zip(table["patch_id"].to_pylist(), table[name].to_pylist(), strict=True))


def labelled(tmp_path: Path, file: str, content: Any, table: str, labels: str) -> dict[str, Any]:
    """The labels that a store gets from a table."""
    root = ponds(tmp_path)
    path = root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, pa.Table):
        pq.write_table(content, path)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    text = f'[tables.notes]\nfile = "{file}"\n{table}\n[labels.labels]\n{labels}\n'
    convert_ponds(root, text)
    return column(tmp_path / "store", "labels")


ONE = dict(zip(NAMES, ["Meadow", "Pond", "Reed", "Meadow"], strict=True))
SEVERAL = dict(zip(NAMES, [["Meadow"], ["Pond", "Reed"], ["Meadow", "Reed"], None], strict=True))
SHARES = dict(zip(NAMES, [[1, 0, 0], [0, 0.25, 0.75], [0.5, 0, 0.25], None], strict=True))
GEO = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "geometry": None, "properties": {"img": f"x/{n}.tif", "labels": label}}
        for n, label in ONE.items()
    ],
}
SHARE_PAIRS: dict[str, list[Any]] = {
    f"{n}.tif": [["Meadow", s[0]], ["Pond", s[1]], ["Reed", s[2]]] for n, s in SHARES.items() if s
}
FORMS: dict[str, tuple[str, Any, str, str, dict[str, Any]]] = {
    "names in a CSV": (
        "l.csv",
        "patch_id,labels\n" + "".join(f"{n},{c}\n" for n, c in ONE.items()),
        "",
        CLASSES,
        ONE,
    ),
    "files in a TSV with a byte order mark and CRLF": (
        "l.tsv",
        (
            "\ufefffile\tlabels\r\n" + "".join(f'"a/{n}.tif"\t"{c}"\r\n' for n, c in ONE.items())
        ).encode(),
        'key = "file"',
        CLASSES,
        ONE,
    ),
    "latin-1, parted by semicolons": (
        "l.csv",
        ("patch_id;labels;site\n" + "".join(f"{n};{c};gr\xfcn\n" for n, c in ONE.items())).encode(
            "latin-1"
        ),
        "",
        CLASSES,
        ONE,
    ),
    "without a header, parted by blanks": (
        "l.txt",
        "".join(f"{n}.tif {c}\n" for n, c in ONE.items()),
        'key = "file"\ndelimiter = " "\nheader = ["file", "labels"]',
        CLASSES,
        ONE,
    ),
    "numbers from 0": (
        "l.csv",
        "patch_id,labels\na,0\nb,1\nc,2\nd,0\n",
        "",
        CLASSES + "\nfirst_code = 0",
        ONE,
    ),
    "numbers from 1, another name": (
        "l.csv",
        "patch_id,code\na,1\nb,2\nc,3\nd,1\n",
        'rename = { labels = "code" }',
        CLASSES + "\nfirst_code = 1",
        ONE,
    ),
    "numbers in Parquet": (
        "l.parquet",
        pa.table({"patch_id": list(NAMES), "labels": pa.array([1, 2, 3, 1], pa.uint8())}),
        "",
        CLASSES + "\nfirst_code = 1",
        ONE,
    ),
    "several in one cell": (
        "l.csv",
        'patch_id,labels\na,"1"\nb,"2,3"\nc,"3, 1"\nd,\n',
        "",
        CLASSES + '\nfirst_code = 1\nseparator = ","',
        SEVERAL | {"c": ["Reed", "Meadow"]},
    ),
    "several as Python writes them": (
        "l.csv",
        "patch_id;labels\na;['Meadow']\nb;\"['Pond', 'Reed']\"\nc;['Meadow', 'Reed']\nd;\n",
        "",
        CLASSES + '\nseparator = ","',
        SEVERAL,
    ),
    "a list column of numbers": (
        "l.parquet",
        pa.table({"patch_id": list(NAMES), "labels": [[0], [1, 2], [0, 2], None]}),
        "",
        CLASSES + "\nfirst_code = 0",
        SEVERAL,
    ),
    "a column for each class": (
        "l.csv",
        "patch_id,Meadow,Pond,Reed\na,1,0,0\nb,0,1,1\nc,1,0,1\nd,,,\n",
        "",
        CLASSES + "\ncolumns = true",
        SEVERAL,
    ),
    "a column for each class, one label": (
        "l.csv",
        "patch_id,m,p,r\na,1,0,0\nb,0,1,0\nc,0,0,1\nd,1,0,0\n",
        "",
        CLASSES + '\nkind = "one"\ncolumns = { Meadow = "m", Pond = "p", Reed = "r" }',
        ONE,
    ),
    "a column with the share of each class": (
        "l.csv",
        "patch_id,Meadow,Pond,Reed\na,1,0,0\nb,0,.25,.75\nc,.5,0,0.25\nd,,,\n",
        "",
        CLASSES + '\nkind = "shares"\ncolumns = true',
        SHARES,
    ),
    "an object of names": (
        "l.json",
        ONE,
        'key = "name"\nrename = { labels = "value" }',
        CLASSES,
        ONE,
    ),
    "an object of lists": (
        "l.json",
        {k: v for k, v in SEVERAL.items() if v},
        'key = "name"\nrename = { labels = "value" }',
        CLASSES,
        SEVERAL,
    ),
    "an object of pairs": (
        "l.json",
        SHARE_PAIRS,
        'key = "name"\nrename = { labels = "value" }',
        CLASSES + '\nkind = "shares"',
        SHARES,
    ),
    "an object of objects of shares": (
        "l.json",
        {k: dict(v) for k, v in SHARE_PAIRS.items()},
        'key = "name"\nrename = { labels = "value" }',
        CLASSES + '\nkind = "shares"',
        SHARES,
    ),
    "an object of objects": (
        "l.json",
        {n: {"labels": c, "cloud": 0.5} for n, c in ONE.items()},
        'key = "name"',
        CLASSES,
        ONE,
    ),
    "a list of objects": (
        "l.json",
        [{"file": f"{n}.tif", "labels": c} for n, c in ONE.items()],
        'key = "file"',
        CLASSES,
        ONE,
    ),
    "an object a line": (
        "l.jsonl",
        "".join(json.dumps({"file": n, "labels": c}) + "\n" for n, c in ONE.items()),
        'key = "file"',
        CLASSES,
        ONE,
    ),
    "GeoJSON": ("l.geojson", GEO, 'key = "img"', CLASSES, ONE),
    "a column of lists of shares": (
        "l.parquet",
        pa.table({"patch_id": list(NAMES), "labels": list(SHARES.values())}),
        "",
        CLASSES + '\nkind = "shares"',
        SHARES,
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_labels_becomes_the_same_column(form: str, tmp_path: Path) -> None:
    file, content, table, labels, expected = FORMS[form]
    assert labelled(tmp_path, file, content, table, labels) == expected


def test_models_get_what_the_table_says(tmp_path: Path) -> None:
    file, content, table, labels, _ = FORMS["an object of pairs"]
    labelled(tmp_path, file, content, table, labels)
    with pytest.warns(SamplesLeftOut, match="1 without labels"):
        samples = Samples(tmp_path / "store")
    assert samples.labels.dtype == np.float32
    assert samples.labels.tolist() == [SHARES[name] for name in "abc"]
    assert samples.left_out == {"without labels": 1}


def test_labels_follow_from_shares(tmp_path: Path) -> None:
    root = ponds(tmp_path)
    (root / "l.json").write_text(json.dumps(SHARE_PAIRS))
    rules = "".join(
        f'[labels.{rule}]\n{CLASSES}\nrule = "{rule}"\nfrom = "shares"\n'
        for rule in ("present", "single", "multi")
    )
    convert_ponds(
        root,
        '[tables.notes]\nfile = "l.json"\nkey = "name"\nrename = { shares = "value" }\n'
        f'[labels.shares]\n{CLASSES}\nkind = "shares"\n{rules}',
    )
    assert column(tmp_path / "store", "present") == SEVERAL
    assert column(tmp_path / "store", "multi") == SEVERAL
    assert column(tmp_path / "store", "single") == {
        "a": "Meadow",
        "b": "Reed",
        "c": "Meadow",
        "d": None,
    }


def test_tables_with_keys_are_joined_and_the_value_of_the_first_counts(tmp_path: Path) -> None:
    root = ponds(tmp_path)
    (root / "first.csv").write_text("file,season\nb.tif,fall\na.tif,sun\nx.tif,snow\nd.tif,fall\n")
    (root / "more.csv").write_text("id,rain,season\n" + "a,3,X\nb,4.5,X\nc,1,X\n")
    text = (
        '[tables.first]\nfile = "first.csv"\nkey = "file"\n'
        '[tables.more]\nfile = "more.csv"\nkey = "id"\n'
    )
    report = convert_ponds(root, text)
    assert column(tmp_path / "store", "season") == {
        "a": "sun",
        "b": "fall",
        "c": "X",
        "d": "fall",
    }
    assert column(tmp_path / "store", "rain") == {"a": 3.0, "b": 4.5, "c": 1.0, "d": None}
    told = "\n".join(report.reading)
    assert "1 row of more.csv is of no patch of first.csv" in told
    assert "2 rows of first.csv are not in more.csv" in told
    assert report.rows_without_pixels == 1
    assert report.without_row == {}


def test_files_of_a_table_are_put_together_and_their_paths_tell(tmp_path: Path) -> None:
    root = ponds(tmp_path, {"x": "ab", "y": "cd"})
    for site, names in (("x", "ab"), ("y", "cd")):
        rows = "".join(f"{name},{i}\n" for i, name in enumerate(names))
        (root / site / f"chips_{site}.csv").write_text("id,count\n" + rows)
    text = '[tables.chips]\nfile = "{site}/chips_{site}.csv"\nkey = "{site}/{id}"\n'
    convert_ponds(root, text)
    assert column(tmp_path / "store", "count") == {"x/a": 0, "x/b": 1, "y/c": 0, "y/d": 1}
    assert set(column(tmp_path / "store", "site").values()) == {"x", "y"}


def test_a_key_may_have_the_numbers_of_rows(tmp_path: Path) -> None:
    root = ponds(tmp_path)
    (root / "meta.csv").write_text("Path\nd.tif\nc.tif\nb.tif\na.tif\n")
    (root / "l.csv").write_text("row,labels\n4,Meadow\n3,Pond\n2,Reed\n1,Meadow\n")
    text = (
        '[tables.meta]\nfile = "meta.csv"\nkey = "Path"\n'
        '[tables.notes]\nfile = "l.csv"\nkey = "row"\nrows_of = "meta"\nfirst_row = 1\n'
        f"[labels.labels]\n{CLASSES}\n"
    )
    convert_ponds(root, text)
    assert column(tmp_path / "store", "labels") == ONE


def test_types_hold_for_all_rows_or_are_told(tmp_path: Path) -> None:
    root = ponds(tmp_path)
    (root / "t.csv").write_text("patch_id,a,b,c,day\n" + "a,1,2,,03\nb,2,x,,04\nc,3.5,4,,05\n")
    convert_ponds(root, '[tables.t]\nfile = "t.csv"\n[tables.t.types]\nday = "text"\n')
    table = open_store(tmp_path / "store").table()
    kinds = {name: str(table.schema.field(name).type) for name in ("a", "b", "c", "day")}
    assert kinds == {"a": "double", "b": "string", "c": "string", "day": "string"}
    assert table["day"].to_pylist() == ["03", "04", "05", None]


BAD: dict[str, tuple[dict[str, Any], str, str]] = {
    "keys that match nothing": (
        {"l.csv": "file,labels\nq,Meadow\nr,Pond\n"},
        'key = "file"',
        "no patch of the source is in .*l.csv: a name there is 'q', and in the source 'a'",
    ),
    "a column that is not there": (
        {"l.csv": "file,labels\na,Meadow\n"},
        'key = "name"',
        "l.csv has no column 'name', which the description needs .key.; it has file, labels",
    ),
    "a sign that does not part": (
        {"l.csv": "file|labels\na|Meadow\n"},
        'key = "file"',
        "say it with delimiter",
    ),
    "an unknown label": (
        {"l.csv": "file,labels\na,Meadow\nb,Pnd\n"},
        'key = "file"',
        "l.csv, patch b: label 'Pnd' is unknown; nearest is 'Pond'",
    ),
    "labels parted by another sign": (
        {"l.csv": "file,labels\na,Meadow;Pond\nb,Pond\n"},
        'key = "file"',
        "patch a: label 'Meadow;Pond' is unknown; .*; if these are several .*separator = ';'",
    ),
    "numbers without a first one": (
        {"l.csv": "file,labels\na,1\n"},
        'key = "file"',
        "patch a: label 1 is a number: say with",
    ),
    "an empty file": ({"l.csv": ""}, 'key = "file"', "l.csv is empty"),
    "a row of other columns": (
        {"l.csv": "file,labels\na,Meadow\nb,Pond,3\n"},
        'key = "file"',
        "l.csv, line 3 has 3 columns, and the first line has 2: 'b,Pond,3'; put a cell that has a "
        "',' of its own in double quotes",
    ),
    "a row of fewer columns, after a cell of two lines": (
        {"l.csv": 'file,labels\na,"Mea\ndow"\nb\n'},
        'key = "file"',
        "l.csv, line 4 has 1 column, and the first line has 2: 'b'",
    ),
    "a quote without an end": (
        {"l.csv": 'file,labels\na,"Meadow\nb,Pond\n'},
        'key = "file"',
        "has a quote that does not end",
    ),
    "a patch twice": (
        {"l.csv": "file,labels\na,Meadow\na,Pond\n"},
        'key = "file"',
        "patch a is in the tables twice",
    ),
    "a patch twice in two spellings": (
        {"l.csv": "file,labels\na.tif,Meadow\nx/a.tif,Pond\n"},
        'key = "file"',
        "twice, in two spellings",
    ),
    "a web page": ({"l.json": "<!DOCTYPE html><html></html>"}, 'key = "file"', "l.json is no JSON"),
    "a name twice in an object": (
        {"l.json": '{"a": "Pond", "a": "Reed"}'},
        'key = "name"',
        "l.json has 'a' twice",
    ),
    "a row number beyond the table": (
        {"l.csv": "file\na\nb\n", "n.csv": "row,labels\n0,Pond\n2,Reed\n"},
        'key = "file"\n'
        '[tables.numbers]\nfile = "n.csv"\nkey = "row"\nrows_of = "notes"\nfirst_row = 0',
        "n.csv has the row number 2, and .*l.csv has 2 rows, numbered from 0 to 1",
    ),
    "a row number that is none": (
        {"l.csv": "file\na\nb\n", "n.csv": "row,labels\n0,Pond\nx,Reed\n"},
        'key = "file"\n'
        '[tables.numbers]\nfile = "n.csv"\nkey = "row"\nrows_of = "notes"\nfirst_row = 0',
        "n.csv has 'x' in row, which must be the number of a row",
    ),
    "a told type that does not hold": (
        {"l.csv": "file,labels,n\na,Pond,x\n"},
        'key = "file"\ntypes = { n = "number" }',
        "l.csv has 'x' in column 'n', whose type is told",
    ),
}


@pytest.mark.parametrize("mistake", BAD)
def test_a_mistake_in_a_table_is_one_sentence(mistake: str, tmp_path: Path) -> None:
    files, table, sentence = BAD[mistake]
    root = ponds(tmp_path)
    for name, content in files.items():
        (root / name).write_text(content)
    text = f'[tables.notes]\nfile = "{next(iter(files))}"\n{table}\n[labels.labels]\n{CLASSES}\n'
    with pytest.raises(Exception, match=sentence) as refused:
        convert(described_ponds(root, text), root, tmp_path / "store", workers=0)
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "store" / "manifest.json").exists()


def test_shares_that_are_none_are_refused(tmp_path: Path) -> None:
    for value, sentence in (
        ([["Meadow", 0.9], ["Pond", 0.9]], "patch a has shares in 'labels' that sum to 1.8"),
        ([["Meadow", -0.1]], "shares are 0 or more"),
        ([["Meadow", 0.1], ["Meadow", 0.1]], "patch a has a share of 'Meadow' twice"),
        ([["Mead", 0.1]], "patch a: label 'Mead' is unknown"),
    ):
        root = ponds(tmp_path)
        (root / "l.json").write_text(json.dumps({"a": value}))
        text = (
            '[tables.notes]\nfile = "l.json"\nkey = "name"\nrename = { labels = "value" }\n'
            f'[labels.labels]\n{CLASSES}\nkind = "shares"\n'
        )
        with pytest.raises(Exception, match=sentence):
            convert(described_ponds(root, text), root, tmp_path / "store", workers=0)
