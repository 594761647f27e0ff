"""A patch of an archive of which some files may still come, and patches taken in one piece."""

from dataclasses import dataclass

from patchpress.converter.sources.match import ModalityPath
from patchpress.converter.sources.patch import Patch
from patchpress.converter.sources.tar import TarStream
from patchpress.converter.sources.tar_run import ReadFile, RunForms


@dataclass(slots=True, kw_only=True)
class PartialPatch:
    """A patch of which some files may still come."""

    patch: Patch
    path: ModalityPath
    folder: str
    """Its folder inside the archive."""
    shares_folder: bool = False
    """Whether files of other patches of its modality lie there, too."""
    is_wanted: bool
    read: list[ReadFile] | None = None
    """Those that have come, if they are to be known of other patches."""
    # Made when they are first asked for: a patch that is taken in one piece needs neither.
    known_names: frozenset[str] | None = None
    known_missing: set[str] | None = None

    @property
    def names(self) -> frozenset[str]:
        """The files that it must have."""
        if self.known_names is None:
            self.known_names = self.path.names_of(self.patch)
        return self.known_names

    @property
    def missing(self) -> set[str]:
        """Those of them that have not come."""
        if self.known_missing is None:
            self.known_missing = set(self.names)
        return self.known_missing

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from the others that wait: modality and folder, or beginning of names."""
        of_own = f"/{self.patch.before}" if self.shares_folder else ""
        return self.patch.modality, f"{self.folder}{of_own}"


class PatchRuns:
    """Takes patches whose files lie in an archive as those of an earlier one; see `tar_run`."""

    def __init__(self, stream: TarStream) -> None:
        self._stream, self._forms = stream, RunForms()

    @property
    def are_tried(self) -> bool:
        """Whether files that are read are to be noted in `PartialPatch.read`."""
        return self._forms.tried

    def take(self, partial: PartialPatch, name: str, size: int) -> bool:
        """Take all files of a patch at once, if they lie as those of an earlier one.

        `name` and `size` are of the file that came last.
        """
        patch, folder, forms = partial.patch, partial.folder, self._forms
        if partial.read is None or partial.read:
            return False
        form = forms.expected(folder, patch, name, size)
        if form is None:
            return False
        files = patch.in_memory
        if files is not None and files.room_for_run(form.nbytes) is None:
            return False  # this is no sign that patches lie otherwise
        last = f"{folder}/{patch.before}{form.parts[-1].rest}"
        begin = self._stream.position
        fits = form.fits(folder, patch.before, self._stream.blocks[-1])
        fitted = self._stream.take_run(form.nbytes, fits, files, last)
        forms.count(fitted=fitted)
        if fitted:
            partial.known_missing = set()
            if files is not None:
                files.add_run(patch.before, form.parts, form.nbytes)
                if files.places is not None:
                    for rest, offset, nbytes in form.parts:
                        files.places.files[patch.before + rest] = begin + offset, nbytes
        return fitted

    def learn(self, partial: PartialPatch) -> None:
        """Expect that others will lie as this patch did, if it has come whole and file by file."""
        patch, read = partial.patch, partial.read
        if read:
            self._forms.learn(partial.folder, patch, read)
            partial.read = None
