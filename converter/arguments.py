"""Types of the command's arguments and options: how they are parsed, shown and completed.

A value that cannot be parsed ends in a sentence of our own, which names the value. Typer's own
sentences differ from version to version, and some do not name it.
"""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from patchpress.converter.options import FlaggedChoice
from patchpress.converter.paths import place
from patchpress.readers.errors import OptionError
from patchpress.readers.hints import hint

Number = TypeVar("Number", int, float)


_LONGEST = 60  # characters of names that stand beside an option, so that a line fits a terminal


def choice(kind: type[StrEnum], text: str) -> Any:
    """An option that takes one of a few names."""
    names = [str(one) for one in kind]

    def parse(name: str) -> StrEnum:
        try:
            return kind(name)
        except ValueError:
            raise typer.BadParameter(f"{name!r} is unknown, {hint(name, names)}") from None

    metavar = f"[{'|'.join(names)}]"
    if len(metavar) > _LONGEST:
        metavar, text = "NAME", f"{text} One of {', '.join(names)}."
    return typer.Option(parser=parse, metavar=metavar, autocompletion=lambda: names, help=text)


def _whole_number(text: str) -> int:
    return _number(text, int, "a whole number")


def _decimal_number(text: str) -> float:
    return _number(text, float, "a number")


def _number(text: str, kind: Callable[[str], Number], what: str) -> Number:
    try:
        return kind(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not {what}") from None


def whole(text: str, metavar: str = "N") -> Any:
    """An option that takes a whole number."""
    return typer.Option(parser=_whole_number, metavar=metavar, help=text)


def decimal(text: str, metavar: str) -> Any:
    """An option that takes a number."""
    return typer.Option(parser=_decimal_number, metavar=metavar, help=text)


def _dataset_names() -> list[str]:
    from patchpress.converter.descriptions.parse import built_in_descriptions

    return list(built_in_descriptions())


def _show_log(count: int) -> int:
    if count:
        from patchpress.converter.log import show_log

        show_log(details=count > 1)
    return count


DATASET = "Name of a dataset as in `patchpress datasets`, or a TOML file that describes your own."

Dataset = Annotated[
    str, typer.Argument(metavar="DATASET", help=DATASET, autocompletion=_dataset_names)
]
Store = Annotated[
    str, typer.Argument(parser=place, metavar="STORE", help="Folder of the store, or its URL.")
]
ZstdWindow = Annotated[
    str,
    typer.Option(
        metavar="SIZE",
        help="Memory that each zstd archive may take while it is read, up to 2GiB.",
    ),
]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose",
        "-v",
        count=True,
        metavar="",
        show_default=False,
        callback=_show_log,
        help="Say on stderr what was decided, and why; twice for more.",
    ),
]

Splits = Annotated[
    list[str] | None,
    typer.Option("--split", metavar="NAME", help="Only this split; may be repeated."),
]

Modalities = Annotated[
    list[str] | None,
    typer.Option(
        "--modality",
        metavar="NAME",
        help="Only this modality; may be repeated.",
    ),
]

PartBands = Annotated[
    list[str] | None,
    typer.Option(
        "--bands",
        metavar="BANDS",
        help="Only these bands of images: rgb, 10m, B04,B03,B02, or s2=B04,B03 for one "
        "modality; may be repeated.",
    ),
]

Wheres = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="COLUMN=VALUE",
        help="Only rows with this value; may be repeated: a row must have one of the values of "
        "each column.",
    ),
]

KeysFile = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        metavar="FILE",
        help="Only patches that this file names: one a line, or a column of a table.",
    ),
]

Flagged = Annotated[
    FlaggedChoice | None,
    choice(
        FlaggedChoice,
        "Patches that the publisher does not recommend; by default a split has none of them.",
    ),
]
Fraction = Annotated[
    float | None,
    decimal("Take this share of the rows, above 0 and at most 1, of each class alike.", "F"),
]
PerClass = Annotated[int | None, whole("Take so many patches of each class.")]
PartTarget = Annotated[
    str | None,
    typer.Option(
        "--target",
        metavar="COLUMN",
        help="The label column that --fraction and --per-class look at.",
    ),
]
PartSeed = Annotated[int, whole("Decides which patches --fraction and --per-class take.")]

Block = Annotated[
    str | None,
    typer.Option(
        metavar="DISTANCE",
        help="With --split geographic: patches in one block of ground of this side (10km) have one "
        "split.",
    ),
]
BlockShares = Annotated[
    str | None,
    typer.Option(
        metavar="TRAIN,VAL,TEST", help="With --block: the shares; 0.7,0.15,0.15 if not given."
    ),
]
Buffer = Annotated[
    str | None,
    typer.Option(
        metavar="DISTANCE",
        help="With --block: patches as near to another split (1km) have none.",
    ),
]

Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a finished store.")]


def dataset_option(text: str) -> Any:
    """An option that takes what the argument DATASET takes."""
    return typer.Option(metavar="DATASET", autocompletion=_dataset_names, help=text)


def parse_paths(entries: list[str] | None) -> dict[str, Path]:
    """NAME=PATH options as a mapping.

    Raises:
        OptionError: an entry without ``=``, or a NAME that is given twice.
    """
    paths: dict[str, Path] = {}
    for entry in entries or []:
        name, equals, path = entry.partition("=")
        if not (name and equals and path):
            raise OptionError(f"--path {entry} must be NAME=PATH, as in s2=FOLDER")
        if name in paths:
            raise OptionError(
                f"--path gives {name} twice ({paths[name]} and {path}): leave one of them out"
            )
        paths[name] = Path(path)
    return paths
