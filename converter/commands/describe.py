"""`describe`: a first description of a folder of patches that nobody described."""

import os
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from patchpress.converter.commands.dry_run import dry_run
from patchpress.converter.descriptions.parse import parse_description
from patchpress.converter.drafting.drafting import draft_of
from patchpress.converter.drafting.matching import Matched, matched_files
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.storage.folder import writing
from patchpress.converter.text import as_text, line, named, several
from patchpress.readers.errors import DescriptionError, PatchpressError, TargetError
from patchpress.readers.format.whole_file import write_whole


@dataclass
class FirstDescription:
    """A description that `describe` made, and what came of trying it."""

    folder: str
    toml: str
    """The text of the description."""
    file: str
    """Where it was written; empty if nowhere."""
    looked: str
    """How much of the folder was looked at."""
    modalities: dict[str, int]
    """Modality -> patches among what was looked at."""
    matched: Matched
    remarks: list[str]
    """What was seen and is not described, a sentence each."""
    trial: str = ""
    """What a dry run says of the whole folder; empty if the folder was too large for one."""
    problem: str = ""
    """Why the description does not convert as it stands; empty if nothing is known of that."""

    @property
    def decisions(self) -> int:
        """How many lines ask a person to decide."""
        return self.toml.count("# DECIDE: ") - 1

    def text(self) -> str:
        """It for people, without the description itself."""
        lines = [f"{self.file or 'a first description'}: of {self.folder}"]
        lines.append(line("looked at", self.looked))
        lines += [
            line(name, several(count, "patch", "patches"))
            for name, count in self.modalities.items()
        ]
        lines.append(line("images described", f"{self.matched.described:,}"))
        lines += named("images not described", self.matched.others)
        lines += [f"  {remark}" for remark in self.remarks]
        if self.problem:
            lines.append(f"  does not convert yet: {self.problem}")
        elif self.trial:
            lines += ["  a dry run:", *(f"  {one}" for one in self.trial.splitlines()[1:])]
        lines.append(line("to decide", f"{several(self.decisions, 'line')} with # DECIDE"))
        file = self.file or "FILE.toml"
        lines.append(line("next", f"patchpress convert {file} {self.folder} STORE --dry-run"))
        return as_text(lines)


def describe(folder: StrPath, out: StrPath | None = None) -> FirstDescription:
    """Write a first description for a folder of patches that nobody described.

    It follows from names, from some images of each kind, and from tables and lists beside them. Of
    a large folder a part is looked at. Lines with ``# DECIDE`` ask for what no file tells. At the
    end the description is tried: read, compared with the files, and, if all of these were looked
    at, with a dry run.

    Args:
        folder: with the patches.
        out: the TOML file to write; nothing is written without it.

    Raises:
        SourceMissing: there is no such folder.
        SourceError: it is a file or a store, or has no images.
        TargetError: the file is there already, or cannot be written.
    """
    source = local_path(folder)
    target = local_path(out) if out is not None else None
    if target is not None and os.path.lexists(target):
        raise TargetError(f"{target} is there already: give another name, or remove it")
    drafted = draft_of(source)
    name = target.name if target is not None else "the description"
    problem, matched = "", Matched()
    try:
        matched = matched_files(parse_description(drafted.toml, name), drafted.look)
    except DescriptionError as error:  # what it says of the folder is of use all the same
        problem = str(error)
    found = FirstDescription(
        folder=str(folder),
        toml=drafted.toml,
        file=str(out) if out is not None else "",
        looked=drafted.looked,
        modalities=matched.patches,
        matched=matched,
        remarks=drafted.draft.remarks,
        problem=problem,
    )
    if (drafted.whole or drafted.packed) and not problem:
        _try(found, source)
    if target is not None:
        with writing(target):
            write_whole(target, drafted.toml.encode())
    return found


def _try(found: FirstDescription, source: Path) -> None:
    """Let a dry run say what the description does with the folder."""
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / "description.toml"
        file.write_text(found.toml, encoding="utf-8")
        try:
            found.trial = dry_run(file, source, Path(scratch) / "store", workers=0).text()
        except PatchpressError as error:
            found.problem = str(error)
