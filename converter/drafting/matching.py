"""Which of the images that were seen a description takes, and which not."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from patchpress.converter.descriptions.description import Description, ModalitySource, fields_of
from patchpress.converter.descriptions.patterns import PathPattern, match_name
from patchpress.converter.drafting.looking import Look, SeenFolder


@dataclass
class Matched:
    """Images that were seen, by whether a description takes them."""

    patches: dict[str, int] = field(default_factory=dict)
    """Modality -> its patches; those of several dates are one."""
    described: int = 0
    others: list[str] = field(default_factory=list)
    """Paths of those that no modality takes."""


def matched_files(description: Description, look: Look) -> Matched:
    """Compare a description with all images that were seen."""
    root = look.root.path
    taken: set[Path] = set()
    found = Matched()
    for name, modality in description.modalities.items():
        patches = list(_patches(modality, look.root))
        found.patches[name] = len(patches)
        if modality.time:
            template = modality.name_template
            found.patches[name] = len({template.format_map(fields) for fields, _ in patches})
        taken.update(file for _, files in patches for file in files)
    images = [seen.path / name for seen in look.root.all_folders() for name in seen.images()]
    found.described = sum(image in taken for image in images)
    found.others = [i.relative_to(root).as_posix() for i in images if i not in taken]
    return found


_Patch = tuple[Mapping[str, str], list[Path]]
"""What its path tells, and its files."""


def _patches(modality: ModalitySource, root: SeenFolder) -> Iterator[_Patch]:
    """The patches of a modality."""
    seen: SeenFolder | None = root
    for name in modality.folder.split("/") if modality.folder != "." else ():
        seen = seen.folders.get(name) if seen is not None else None
    if seen is None:
        return
    for path in modality.paths:
        yield from _below(modality, path, PathPattern(path, modality), seen, 0, {})


def _below(
    modality: ModalitySource,
    path: str,
    pattern: PathPattern,
    seen: SeenFolder,
    depth: int,
    known: Mapping[str, str],
) -> Iterator[_Patch]:
    if depth < len(pattern.folders):
        for name, inside in seen.folders.items():
            match = match_name(pattern.folders[depth], name, known)
            if match is not None and match.disagreement is None:
                fields = {**known, **match.fields}
                yield from _below(modality, path, pattern, inside, depth + 1, fields)
        return
    template = path.rpartition("/")[2]
    if not pattern.is_folder_a_patch:
        patches: dict[tuple[tuple[str, str], ...], list[Path]] = {}
        for name in seen.files:
            match = pattern.match_file(name, known)
            if match is not None and match.disagreement is None:
                told = {key: value for key, value in match.fields.items() if key != pattern.part}
                patches.setdefault(tuple(told.items()), []).append(seen.path / name)
        yield from (({**known, **dict(told)}, files) for told, files in patches.items())
        return
    names = set(_names(modality, template, known)) & set(seen.files)
    if names:
        yield known, [seen.path / name for name in sorted(names)]


def _names(modality: ModalitySource, template: str, known: Mapping[str, str]) -> Iterator[str]:
    """The names of the files of a patch that is a folder."""
    parts = [part for part in fields_of(template) if part in ("band", "file") and part not in known]
    if not parts:
        yield template.format_map(known)
        return
    files = getattr(modality, "files", ())
    for one in files or modality.bands:
        yield template.format_map({**known, parts[0]: one.name})
