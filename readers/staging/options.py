"""Where and how much is staged, as users say it: by arguments, or for a job by the environment."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchpress.readers.errors import OptionError
from patchpress.readers.format.byte_counts import bytes_of

if TYPE_CHECKING:
    from patchpress.readers.format.manifest import Shard
    from patchpress.readers.staging.source import ShardSource
    from patchpress.readers.staging.stage import Stage

STAGE, STAGE_SIZE = "PATCHPRESS_STAGE", "PATCHPRESS_STAGE_SIZE"

StageFolder = str | os.PathLike[str] | bool | None
StageSize = int | str | None


@dataclass(frozen=True)
class StageOptions:
    """A folder on a disk of this machine, and the most bytes that copies take there."""

    folder: str
    """As the user named it: it means another folder on another machine."""
    size: int | None
    """None for what leaves a reserve of the disk free."""

    @property
    def path(self) -> Path:
        """The folder, here.

        Raises:
            OptionError: it names a variable that is not set.
        """
        text = os.path.expanduser(os.path.expandvars(self.folder))
        unset = re.search(r"\$(\w+|\{[^}]*\})", text)
        if unset:
            raise OptionError(
                f"stage {self.folder!r} names the environment variable {unset[1].strip('{}')}, "
                "which is not set: set it, or name a folder"
            )
        return Path(os.path.abspath(text))

    def of(self, store: Path, shards: "Sequence[Shard]") -> "Stage":
        """The copies of a store's data files, in this process.

        Raises:
            OptionError: they would lie in the store itself.
        """
        inner, outer = os.path.realpath(self.path), os.path.realpath(store)
        if os.path.commonpath([inner, outer]) == outer:
            raise OptionError(
                f"stage {self.folder!r} lies in the store {store} itself, which is only read: name "
                "a folder on a disk of this machine, outside of it"
            )
        # Loaded if something is staged, not whenever a store is opened.
        from patchpress.readers.staging.source import LocalSource

        return self.from_source(LocalSource(store), shards)

    def from_source(self, source: "ShardSource", shards: "Sequence[Shard]") -> "Stage":
        """The copies of data files from any place, in this process."""
        from patchpress.readers.staging.stage import Stage

        return Stage(self.path, self.size, shards, source)


def stage_options(stage: StageFolder, size: StageSize) -> StageOptions | None:
    """What is asked for; None if nothing is staged.

    Args:
        stage: a folder; None for that of PATCHPRESS_STAGE, if it is set; False for none.
        size: as `bytes_of`; None for PATCHPRESS_STAGE_SIZE, if it is set.

    Raises:
        OptionError: a folder or a size that cannot be, or a size without a folder.
    """
    if stage is None:
        stage = os.environ.get(STAGE) or False
        if stage is False and size is not None:
            raise OptionError(f"stage_size {size!r} needs a folder: give stage, or set {STAGE}")
    if stage is False:
        return None
    if not isinstance(stage, (str, os.PathLike)) or not os.fspath(stage):
        raise OptionError(f"stage must be a folder on a disk of this machine, not {stage!r}")
    size = os.environ.get(STAGE_SIZE) or None if size is None else size
    options = StageOptions(os.fspath(stage), None if size is None else bytes_of(size, "of a stage"))
    options.path  # noqa: B018 -- what cannot be is said before the store is opened
    return options
