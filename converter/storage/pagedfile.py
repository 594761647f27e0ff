"""A data file written in pages: records straight to the disk, then the tree, without LMDB."""

from pathlib import Path

from patchpress.converter.encoding.frame import PAGE_BYTES
from patchpress.converter.storage.directfile import Callback, DirectFile
from patchpress.converter.storage.pages import Pages, aligned, put_head
from patchpress.converter.storage.transactions import map_size


class PagedFile:
    """Writes a data file whose keys ascend and whose values are large; a thread does the writing.

    Raises OSError if the file cannot be written, from any method but `close`.
    """

    def __init__(self, path: Path, pages: Pages) -> None:
        """Open the file, or make it; what it has after the last of `pages` is cut off."""
        self._pages = pages
        self._written = pages.end
        self._parts: list[memoryview] = []
        self._file = DirectFile(path, pages.end * PAGE_BYTES)

    def put(self, key: bytes, length: int, frame: memoryview) -> None:
        """Take a record of `length` bytes in its frame (see `encoding.frame`)."""
        number, leaf = self._pages.add(key, length)
        if leaf is not None:
            self._parts.append(aligned(leaf.data))
        put_head(frame, number)
        self._parts.append(frame)

    def flush(self, then: Callback | None = None, release: Callback | None = None) -> None:
        """Hand everything that was put to the thread.

        It calls `then` when that is written, and `release` when the frames are no longer needed.
        """
        parts, self._parts = self._parts, []
        begin, self._written = self._written, self._pages.end
        self._file.put(begin * PAGE_BYTES, parts, then, release)

    def close_tree(self, *, durable: bool = True) -> None:
        """Write what is left and the tree above it: now it is a whole data file.

        If it is to be `durable`, wait until all of it is on the disk.
        """
        self.flush()
        self._file.wait()
        end = self._pages.end * PAGE_BYTES
        pages, metas = self._pages.finish(map_size(0, end))
        tree = b"".join(page.data for page in pages)
        self._file.finish(end, tree, metas, durable=durable)

    def close(self) -> None:
        """Close the file; what was put and is not written is lost."""
        self._file.close()
