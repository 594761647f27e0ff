"""`shard.json`: what a finished shard has, until all shards of its store are one store.

It is written last, so a folder with it has a whole data file, its extents and its journal. It has
no path and no time of day.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from patchpress.converter.sources.passed_over import PassedOver
from patchpress.converter.storage.folder import DecisiveSettings, writing
from patchpress.converter.storage.ownership import SHARD_FILE, SHARD_JOURNAL
from patchpress.converter.storage.settings_difference import REQUEST
from patchpress.readers.errors import StoreDamaged, TargetError
from patchpress.readers.format.manifest import DATA, EXTENTS, file_digest
from patchpress.readers.format.manifest_schema import SHA256
from patchpress.readers.format.schema import FieldError, Fields, List, OneOf, Table, Text, Whole
from patchpress.readers.format.sealed import parse, seal, unsealed
from patchpress.readers.format.shard_rule import MOST_SHARDS
from patchpress.readers.format.whole_file import write_whole

FORMAT = "patchpress-shard"
_SENTENCES = List(Text())
_PASSED_OVER = Table(
    Fields({"unmatched": Whole(), "names": _SENTENCES, "hidden": Whole(), "others": Whole()})
)
_SCHEMA = Fields(
    {
        "format": OneOf((FORMAT,)),
        "number": Whole(most=MOST_SHARDS - 1),
        "shards": Whole(least=1, most=MOST_SHARDS),
        "settings": SHA256,
        "records": Whole(),
        "left_out": Whole(),
        "bytes": Whole(least=1),
        "content": SHA256,
        "journal": SHA256,
        "on_error": OneOf(("stop", "skip")),
        "limited": Text(r"(sha256:[0-9a-f]{64})?", "`sha256:` and 64 hexadecimal digits, or empty"),
        "software": Table(Text()),
        "source": Fields(
            {
                "skipped": _SENTENCES,
                "defects": _SENTENCES,
                "leftovers": _SENTENCES,
                "passed_over": _PASSED_OVER,
                "passed_over_in_archives": _PASSED_OVER,
            }
        ),
    }
)


@dataclass(frozen=True)
class SourceFindings:
    """What a pass over a source found in it besides the records: the same for each shard."""

    skipped: list[str] = field(default_factory=list)
    """A sentence for each patch that its name or its partners show to be wrong."""
    defects: list[str] = field(default_factory=list)
    """One for each patch left out because the data set is known to have it damaged."""
    leftovers: list[str] = field(default_factory=list)
    """One for each archive that other bytes follow."""
    passed_over: Mapping[str, PassedOver] = field(default_factory=dict)
    """Modality -> entries of its folder that are no patches."""
    passed_over_in_archives: Mapping[str, PassedOver] = field(default_factory=dict)
    """Archive -> files of it that belong to no patch."""

    def with_those_of(self, other: "SourceFindings") -> "SourceFindings":
        """These, and what another pass found that these do not have."""

        def joined(one: list[str], more: list[str]) -> list[str]:
            return list(dict.fromkeys((*one, *more)))

        return replace(
            self,
            skipped=joined(self.skipped, other.skipped),
            defects=joined(self.defects, other.defects),
            leftovers=joined(self.leftovers, other.leftovers),
            passed_over={**other.passed_over, **self.passed_over},
            passed_over_in_archives={
                **other.passed_over_in_archives,
                **self.passed_over_in_archives,
            },
        )


@dataclass(frozen=True)
class FinishedShard:
    """One shard that is done."""

    number: int
    shards: int
    """How many the store has."""
    settings: str
    """The digest of the decisive settings of its conversion."""
    records: int
    left_out: int
    """Patches of this shard that have no record because of an error."""
    bytes: int
    """Size of its data file."""
    content: str
    """The content digest, as manifests have it."""
    journal: str
    """SHA-256 of `shard.records`."""
    on_error: str
    """What was done with damaged patches: an `OnError`."""
    limited: str
    """The digest of the patches that a limit took of the source; empty without a limit."""
    software: Mapping[str, str]
    """Package -> version with which it was made."""
    source: SourceFindings


def settings_digest(settings: DecisiveSettings) -> str:
    """The digest of decisive settings, whether they come from a request or from a marker."""
    decisive = {name: value for name, value in settings.items() if name != REQUEST}
    # Names that are numbers become text first, since that decides their order. What is not set
    # counts as a setting that was not known when the store was begun.
    plain = _without_none(json.loads(json.dumps(decisive)))
    return f"sha256:{hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()}"


def _without_none(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_none(one) for one in value]
    if isinstance(value, dict):
        return {name: _without_none(one) for name, one in value.items() if one is not None}
    return value


def write_shard_file(folder: Path, shard: FinishedShard) -> None:
    """Write it whole: from then on the shard counts as finished.

    Raises:
        TargetError: the folder cannot be written.
    """
    content = {"format": FORMAT, **asdict(shard)}
    for places in (content["source"]["passed_over"], content["source"]["passed_over_in_archives"]):
        for place in list(places):
            found = places.pop(place)
            found["names"] = [_printable(name) for name in found["names"]]
            places[_printable(place)] = found
    with writing(folder):
        write_whole(folder / SHARD_FILE, seal(content))


def read_shard_file(folder: Path) -> FinishedShard | None:
    """What the file in a shard's folder says; None if there is none.

    The data file and the journal are asked for their sizes only.

    Raises:
        StoreDamaged: it is not as it was written, or the data file or the journal is another.
        TargetError: it cannot be read.
    """
    path = folder / SHARD_FILE
    with writing(path):
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None
    shard = parse_shard_file(data, str(path), str(folder))
    if _size(folder / DATA) != shard.bytes:
        raise StoreDamaged(
            f"{folder / DATA} is not the data file that {SHARD_FILE} beside it tells of: remove "
            f"{folder}, and make that shard again"
        )
    return shard


def parse_shard_file(data: bytes, name: str, folder: str) -> FinishedShard:
    """What the bytes of a shard's file say; the other two are its names in messages.

    Raises:
        StoreDamaged: it is not as it was written.
    """
    try:
        content = unsealed(data, parse(data))
        _SCHEMA.check(content, "")
    except FieldError as error:
        raise StoreDamaged(
            f"{name} is not as it was written ({error}): remove {folder}, and make that shard again"
        ) from None
    del content["format"]
    source: dict[str, Any] = content.pop("source")
    for name in ("passed_over", "passed_over_in_archives"):
        source[name] = {place: PassedOver(**found) for place, found in source[name].items()}
    return FinishedShard(**content, source=SourceFindings(**source))


def finished_shard(folder: Path, number: int, settings: DecisiveSettings) -> FinishedShard | None:
    """The shard of that number in a folder, if it is finished; None if it is not.

    Raises:
        StoreDamaged: as `read_shard_file`; also if its journal or its extents are absent.
        TargetError: it was made with other settings, or is another one.
    """
    shard = read_shard_file(folder)
    if shard is None:
        return None
    if (shard.number, shard.shards) != (number, settings["shards"]):
        raise TargetError(
            f"{folder} has shard {shard.number} of {shard.shards}, not {number} of "
            f"{settings['shards']}: remove it, or choose another place"
        )
    if shard.settings != settings_digest(settings):
        raise TargetError(
            f"{folder} was made with another source, version or options, as its {SHARD_FILE} "
            "shows: remove it, and make that shard again"
        )
    for name in (SHARD_JOURNAL, EXTENTS):
        if not (folder / name).is_file():
            raise StoreDamaged(
                f"{folder / name} is absent though {SHARD_FILE} is there: remove {folder}, and "
                "make that shard again"
            )
    return shard


def require_same_limited(shards: Iterable[FinishedShard]) -> None:
    """Make sure that a limit took the same patches for all shards of a store.

    Each process that makes one looks at the source for itself, and the source may change meanwhile.

    Raises:
        TargetError: it did not.
    """
    first: FinishedShard | None = None
    for shard in shards:
        if first is not None and shard.limited != first.limited:
            raise TargetError(
                "the source changed between shards: --limit took other patches for shard "
                f"{shard.number} than for shard {first.number}; remove the shards that were made "
                "of the source as it was before, and make them again"
            )
        first = first or shard


def require_journal(folder: Path, shard: FinishedShard) -> None:
    """Make sure that the journal of a finished shard is the one that its conversion wrote.

    Raises:
        StoreDamaged: it is not.
    """
    path = folder / SHARD_JOURNAL
    with writing(path):
        is_same = path.exists() and file_digest(path) == shard.journal
    if not is_same:
        raise StoreDamaged(
            f"{path} is not as it was written: remove {folder}, and make that shard again"
        )


def _printable(name: str) -> str:
    """The name of a file as UTF-8 has it: the bytes of others are spelt."""
    return name.encode(errors="backslashreplace").decode()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1
