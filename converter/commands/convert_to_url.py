"""`convert … URL --shards N`: each shard is made on a local disk, sent, and removed here.

What is made lies in a folder of the scratch disk whose name follows from the URL and the settings,
so that the same command finds it again. It is removed when all of it was sent.
"""

import hashlib
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchpress.converter.commands.converted import is_as_asked
from patchpress.converter.commands.finish_at_url import end_of_finished, published
from patchpress.converter.commands.finished_before import FinishedBefore
from patchpress.converter.commands.make_shards import check_number
from patchpress.converter.commands.shard_maker import ShardMaker
from patchpress.converter.commands.shard_report import ShardReport
from patchpress.converter.options import OnError, convert_options
from patchpress.converter.paths import StrPath, local_path
from patchpress.converter.planning.parallel import archives_for_one_shard
from patchpress.converter.planning.request import ConversionRequest, prepare_request
from patchpress.converter.planning.space import require_room
from patchpress.converter.progress import Progress
from patchpress.converter.sources.patch import stopping
from patchpress.converter.stderr import say
from patchpress.converter.storage.folder import writing
from patchpress.converter.storage.marker import close_marker, locked_marker
from patchpress.converter.storage.report import Report
from patchpress.converter.storage.shard_file import FinishedShard, settings_digest
from patchpress.converter.storage.shard_folder import errors_in
from patchpress.converter.storage.writer_choice import choose_pages
from patchpress.converter.transfer.shards_at_url import ShardsAtUrl
from patchpress.readers.errors import OptionError, StoreError, TargetError
from patchpress.readers.format.shard_rule import shard_folder


def convert_to_url(
    dataset: StrPath, source: StrPath, url: str, options: Mapping[str, Any], progress: Progress
) -> Report:
    """Make all shards of a store that are not at a URL, send them there, and finish the store.

    Raises:
        OptionError: no number of shards; a scheduler; a URL that cannot be.
        SourceError, PatchError, TableError, TargetError, StoreDamaged: as `convert`.
        StoreError: what is at the URL cannot be read.
    """
    begun = time.monotonic()
    work = _WayToUrl.asked(dataset, source, url, options)
    request, target = work.request, work.target
    overwrite = request.options.overwrite
    manifest = None if overwrite else target.manifest()
    if manifest is not None:
        end_of_finished(target, manifest)  # then `begin` says that there is a store
    with work.folder() as folder, ShardMaker(request, _OneStage(progress)) as maker:
        maker.choose(folder / "shards", rehearse=True)
        choose_pages(request.options.writer, request.recipes().values(), folder)
        target.begin(request.marker_settings(), overwrite=overwrite)
        work.make(maker, folder, progress)
        with tempfile.TemporaryDirectory(prefix="joined-", dir=folder) as joined:
            report = published(target, Path(joined), request, progress)
    report.seconds = time.monotonic() - begun
    return report


def convert_shard_to_url(
    dataset: StrPath,
    source: StrPath,
    url: str,
    number: int,
    options: Mapping[str, Any],
    progress: Progress,
) -> ShardReport | FinishedBefore:
    """Make one shard of a store, and send it to a URL, beside other processes that make others.

    Raises:
        OptionError: there is no shard of that number; as `convert_to_url`; `overwrite` is given.
        SourceError, PatchError, TableError, TargetError, StoreDamaged, StoreError: as
            `convert_to_url`.
    """
    begun = time.monotonic()
    work = _WayToUrl.asked(dataset, source, url, options)
    request, target = work.request, work.target
    check_number(number, request.options.shards)
    if request.options.overwrite:
        raise OptionError(
            f"--overwrite is for a whole store, and shard {number} is a part of one: leave out "
            f"--shard, or remove {target.name}/{shard_folder(number)} to make it anew"
        )
    manifest = target.manifest()
    if manifest is not None and is_as_asked(manifest, request):  # a job array does a task again
        return FinishedBefore(target.name, len(manifest.shards))
    target.begin(request.marker_settings())
    settings = request.decisive_settings()
    shard = target.finished(number, settings)
    was_there = shard is not None
    if shard is not None:
        skipped = work.left_out([shard])
    else:
        shard, skipped = work.make_one(number, progress)
    report = ShardReport(target.name, shard, was_there=was_there, skipped=skipped)
    others = target.there(settings).items()
    report.missing = sum(one is None for other, one in others if other != number)
    report.seconds = time.monotonic() - begun
    return report


@dataclass
class _WayToUrl:
    """What is to be made, where, and where it goes."""

    request: ConversionRequest
    target: ShardsAtUrl
    scratch: Path
    url: str

    @classmethod
    def asked(
        cls,
        dataset: StrPath,
        source: StrPath,
        url: str,
        options: Mapping[str, Any],
    ) -> "_WayToUrl":
        """What options ask for; nothing is written yet.

        Raises:
            OptionError, DescriptionError, SourceError, TargetError: as `convert_to_url`.
        """
        target = ShardsAtUrl(url)
        others = {name: value for name, value in options.items() if name != "scratch"}
        if others.get("scheduler") is not None:
            raise OptionError(
                f"--scheduler lets workers write a store on a disk that they share, and "
                f"{target.name} is a URL: use --shards N --shard I on each machine, or leave it out"
            )
        checked = convert_options(others)
        if checked.shards is None:
            raise OptionError(
                f"{target.name} is a URL, to which shards are sent as they are made: give --shards "
                "N (1 for a single data file)"
            )
        given = options.get("scratch")
        scratch = local_path(given or tempfile.gettempdir()).absolute()
        if not scratch.is_dir():
            raise OptionError(f"scratch {scratch} is no folder: make it, or name another")
        request = prepare_request(dataset, local_path(source), scratch / "patchpress", checked)
        return cls(request, target, scratch, url)

    @contextmanager
    def folder(self, number: int | None = None) -> Iterator[Path]:
        """The folder in which shards are made, for this process alone; it is removed at the end.

        If there is an error while it has shards it stays, and the same command goes on with it.

        Raises:
            TargetError: another process has it; it cannot be written.
        """
        known = f"{self.url.rstrip('/')}\n{settings_digest(self.request.decisive_settings())}"
        name = f"patchpress-{hashlib.sha256(known.encode()).hexdigest()[:16]}"
        folder = self.scratch / (name if number is None else f"{name}-{number:05}")
        with writing(folder):
            folder.mkdir(0o700, exist_ok=True)
            marker = locked_marker(folder)
        is_done = False
        try:
            yield folder
            is_done = True
        finally:
            if is_done or not any(folder.glob("shards/*")):
                with writing(folder):
                    shutil.rmtree(folder)
            close_marker(marker)

    def make(self, maker: ShardMaker, folder: Path, progress: Progress) -> None:
        """Make and send all shards that are not at the URL."""
        there = self.target.there(self.request.decisive_settings())
        self.left_out([shard for shard in there.values() if shard is not None])
        left = [number for number, shard in there.items() if shard is None]
        if not left:
            return
        (folder / "shards").mkdir(exist_ok=True)
        places = {number: folder / shard_folder(number) for number in left}
        packed = self.request.parts.packed
        progress.start("converting", None if packed else maker.count(left))
        if packed:
            say(
                f"archives are read from beginning to end ({', '.join(packed)}): {len(left):,} "
                f"shards are made in {folder} before the first is sent, and need room there"
            )
            require_room(folder, maker.needed(), goes_on=any(folder.glob("shards/*")))
            for number, shard in maker.make(places).items():
                self.send(places[number], shard)
            return
        for number, made in places.items():
            require_room(folder, maker.needed([number]), goes_on=made.exists())
            self.send(made, maker.make({number: made})[number])

    def make_one(self, number: int, progress: Progress) -> tuple[FinishedShard, list[str]]:
        """Make and send one shard; gives it, and a sentence for each patch that it lacks."""
        with self.folder(number) as folder, ShardMaker(self.request, progress) as maker:
            sentence = archives_for_one_shard(self.request)
            if sentence:
                say(sentence)
            maker.choose(folder / "shards", [number], rehearse=number == 0)
            made = folder / shard_folder(number)
            require_room(folder, maker.needed([number]), goes_on=made.exists())
            made.parent.mkdir(exist_ok=True)
            shard = maker.make({number: made})[number]
            skipped = [str(error) for error in errors_in(made)]
            self.send(made, shard)
            return shard, skipped

    def send(self, made: Path, shard: FinishedShard) -> None:
        """Send a shard, and remove it here.

        Raises:
            TargetError: it cannot be sent; it stays here.
        """
        try:
            self.target.send(made, shard)
        except (TargetError, StoreError) as error:
            raise TargetError(
                f"{error} (shard {shard.number} stays in {made}, and the same command sends it)"
            ) from None
        with writing(made):
            shutil.rmtree(made)

    def left_out(self, shards: list[FinishedShard]) -> list[str]:
        """A sentence for each patch that shards at the URL lack because of an error.

        Raises:
            PatchError: there is one, and this conversion stops at such patches.
        """
        lacking, found = [shard for shard in shards if shard.left_out], list[str]()
        with tempfile.TemporaryDirectory(prefix="patchpress-", dir=self.scratch) as folder:
            self.target.fetch(lacking, Path(folder))
            for shard in lacking:
                for error in errors_in(Path(folder) / shard_folder(shard.number)):
                    if self.request.options.on_error is OnError.stop:
                        raise stopping(error)
                    found.append(str(error))
        return found


class _OneStage:
    """Progress of shards that are made one after another, as of one stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def start(self, stage: str, total: int | None, unit: str = "records") -> None:
        """Go on: the stage began with the first shard."""

    def advance(self, count: int, nbytes: int, /, share: float | None = None) -> None:
        """Tell of it."""
        self._progress.advance(count, nbytes, share)
