"""`Client`: requests for the files of one store at a URL; made anew in each process.

A request that fails is made again, up to `ATTEMPTS` times. Each answer must be of the object that
was there at first: its size and its tag (ETag) are compared.
"""

import logging
import os
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from patchpress.readers.errors import OptionError, StoreDamaged, StoreError, TargetError
from patchpress.readers.remote.failures import Failure, failure, sentence
from patchpress.readers.remote.library import leave, obstore
from patchpress.readers.remote.url import WEB, checked_url, shown_url, without_user

T = TypeVar("T")
_log = logging.getLogger(__name__)

ATTEMPTS = 3
PAUSES = (0.5, 2.0)  # seconds before the second and the third attempt
TOLD_EVERY = 10.0  # seconds between two lines that say that requests are made again
REQUESTS = 64
"""Requests under way at once: with 20 ms for each that is 3,200 a second."""
PART = 8 << 20  # bytes of one request for a whole file
SENT_PART = 5 << 20  # bytes of one request that sends a part of a file: the least that S3 takes
MOST_PARTS = 9_000  # S3 takes 10,000


@dataclass(frozen=True, slots=True)
class Found:
    """An object as it was when it was first asked for."""

    size: int
    tag: str
    """Its ETag, or when it was changed if the server gives none."""


class Client:
    """The files of a store at a URL, by name. Safe in threads and after a fork, picklable."""

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        """Take a URL and options as `obstore.store.from_url` has them; asks for nothing yet.

        Raises:
            OptionError: a URL or an option that is not known, or obstore is not installed.
        """
        self._url, self._options = checked_url(url), dict(options or {})
        self.name = shown_url(self._url)
        """The URL without what is secret in it, for messages."""
        self._state = _State()
        self._store()

    def __reduce__(self) -> tuple[Any, ...]:
        return Client, (self._url, self._options)

    def __repr__(self) -> str:
        return f"Client({self.name!r})"

    def find(self, name: str) -> Found | None:
        """The size and tag of a file, None if there is none.

        Raises:
            StoreError: as `read`.
        """
        try:
            return self._attempt(name, lambda api, store: _found(api.head(store, name)))
        except _Absent:
            return None

    def whole(self, name: str, limit: int) -> bytes | None:
        """All bytes of a small file, None if there is none.

        Raises:
            StoreDamaged: it is longer than `limit` bytes.
            StoreError: as `read`.
        """

        def get(api: Any, store: Any) -> bytes:
            answer = api.get(store, name)
            size = int(answer.meta["size"])
            if size > limit:
                raise StoreDamaged(
                    f"{self.name}/{name} has {size:,} bytes, where {limit:,} are the most: copy "
                    "the store again"
                )
            return bytes(answer.bytes())

        try:
            return self._attempt(name, get)
        except _Absent:
            return None

    def read(self, name: str, start: int, end: int, known: Found | None = None) -> memoryview:
        """Bytes of a file, from `start` to before `end`.

        Raises:
            StoreMissing: there is no such file or bucket.
            StoreUnreadable: access is refused, or the request failed `ATTEMPTS` times.
            StoreDamaged: the file is shorter, or another one than `known`.
        """
        try:
            data, _ = self._attempt(name, partial(self._get, name, start, end, known))
            return data
        except _Absent as absent:
            raise sentence(absent.args[0], self.name, name, 1) from None

    def first(self, name: str, nbytes: int) -> tuple[memoryview, Found]:
        """The first bytes of a file, as many as it has of `nbytes`; and what it is.

        Raises:
            StoreError: as `read`.
        """
        try:
            return self._attempt(name, partial(self._get, name, 0, nbytes, None))
        except _Absent as absent:
            raise sentence(absent.args[0], self.name, name, 1) from None

    def put(self, name: str, path: Path) -> None:
        """Send a file, in parts if it is large; others see it when it is whole.

        Raises:
            TargetError: access is refused, there is no bucket, or requests fail.
        """
        part = max(SENT_PART, -(-path.stat().st_size // MOST_PARTS))

        def send(api: Any, store: Any) -> None:
            api.put(store, name, path, chunk_size=part)

        self._written(name, send)

    def put_bytes(self, name: str, data: bytes, *, new: bool = False) -> bool:
        """Send a small file; with `new` only if there is none. Gives whether it was sent.

        A server that cannot tell whether there is one gets it in any case.

        Raises:
            TargetError: as `put`.
        """

        def send(api: Any, store: Any) -> bool:
            if new:
                try:
                    api.put(store, name, data, mode="create", use_multipart=False)
                    return True
                except api.exceptions.AlreadyExistsError:
                    return False
                except (api.exceptions.NotSupportedError, NotImplementedError):
                    pass
            api.put(store, name, data, use_multipart=False)
            return True

        return self._written(name, send)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there.

        Raises:
            TargetError: as `put`.
        """

        def delete(api: Any, store: Any) -> None:
            with suppress(FileNotFoundError, api.exceptions.NotFoundError):
                api.delete(store, name)

        self._written(name, delete)

    def _written(self, name: str, request: Callable[[Any, Any], T]) -> T:
        try:
            return self._attempt(name, request)
        except (StoreError, _Absent) as error:
            reason = str(error) if isinstance(error, StoreError) else "there is no such place"
            raise TargetError(f"{self.name}/{name} cannot be written: {reason}") from None

    def submit(self, name: str, start: int, end: int, known: Found) -> "Future[memoryview]":
        """`read` in the background."""
        return self._state.pool.submit(self.read, name, start, end, known)

    def background(self, work: "Callable[[], T]") -> "Future[T]":
        """Do something that asks this client for one thing after another, in the background."""
        return self._state.pool.submit(work)

    def copy_to(
        self,
        name: str,
        file: Any,
        known: Found,
        progress: Callable[[int], None] | None = None,
    ) -> None:
        """Write all bytes of a file into one that is open for writing, `PART` by `PART`.

        `progress` is told of the bytes of each part; what it raises ends this.

        Raises:
            StoreError: as `read`.
            OSError: it cannot be written.
        """
        parts = range(0, known.size, PART)
        coming: list[Future[memoryview]] = []
        for number in range(len(parts)):
            # A few under way, since they wait in memory until they are written.
            for start in parts[number + len(coming) : number + 8]:
                end = min(start + PART, known.size)
                coming.append(self.submit(name, start, end, known))
            part = coming.pop(0).result()
            file.write(part)
            if progress is not None:
                progress(len(part))

    def close(self) -> None:
        """End what is under way."""
        self._state.end()

    def _get(
        self, name: str, start: int, end: int, known: Found | None, api: Any, store: Any
    ) -> tuple[memoryview, Found]:
        answer = api.get(store, name, options={"range": (start, end)})
        found = _found(answer.meta)
        if known is not None and found != known:
            raise self.changed(name, known, found)
        data = memoryview(answer.bytes())
        wanted = min(end, found.size) - start
        if len(data) != wanted:
            raise StoreDamaged(
                f"{self.name}/{name} gave {len(data):,} bytes where {wanted:,} were asked for: "
                "copy the store again"
            )
        return data, found

    def changed(self, name: str, known: Found, found: Found) -> StoreDamaged:
        """The error for a file that is another one than at first."""
        what = (
            f"has {found.size:,} bytes where it had {known.size:,}"
            if found.size != known.size
            else "has other content"
        )
        return StoreDamaged(
            f"{self.name}/{name} {what}: it was written anew since it was opened, so open the "
            "store again"
        )

    def _attempt(self, name: str, request: Callable[[Any, Any], T]) -> T:
        """What a request gives; made again if that may help."""
        api, store = self._store()
        for attempt in range(ATTEMPTS):
            try:
                return request(api, store)
            except StoreError:
                raise
            except Exception as error:
                found = failure(error)
            if found.kind == "absent":
                raise _Absent(found)
            if not found.may_pass or attempt == ATTEMPTS - 1:
                break
            self._tell(name, found, PAUSES[attempt])
            time.sleep(PAUSES[attempt])
        raise sentence(found, self.name, name, ATTEMPTS)

    def _tell(self, name: str, found: Failure, pause: float) -> None:
        now, state = time.monotonic(), self._state
        if now - state.told >= TOLD_EVERY:
            state.told = now
            _log.warning(
                "%s/%s: a request failed (%s), it is made again in %g s",
                self.name, name, found.reason, pause,
            )  # fmt: skip

    def _store(self) -> tuple[Any, Any]:
        """(obstore, its store), made in this process."""
        state = self._state
        if state.store is None:
            api = obstore()
            state.store = api, self._made(api)
        return state.store

    def _made(self, api: Any) -> Any:
        options = dict(self._options)
        # Failures are told and counted here, and not waited for in silence.
        options["retry_config"] = {"max_retries": 0, "retry_timeout": timedelta(minutes=3)}
        scheme = self._url.partition(":")[0]
        try:
            if scheme not in WEB:
                return api.store.from_url(self._url, **options)
            url, headers = without_user(self._url)
            client: dict[str, Any] = {"allow_http": scheme == "http"}
            client |= options.pop("client_options", {})
            client["default_headers"] = headers | dict(client.get("default_headers") or {})
            return api.store.HTTPStore(url, client_options=client, **options)
        except Exception as error:
            reason = str(error).partition("\n")[0]
            raise OptionError(
                f"{self.name} cannot be opened ({_without(reason, self._options)})"
            ) from None


class _Absent(Exception):
    """There is no such file; whether that is an error is for the caller to say."""


class _State:
    """What a client has in one process; empty again in a process that is forked."""

    def __init__(self) -> None:
        self.begin()
        _states.add(self)

    def begin(self) -> None:
        """Have nothing yet."""
        self.store: tuple[Any, Any] | None = None
        self.told = -TOLD_EVERY
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def after_fork(self) -> None:
        """Leave what is of the process that this one was forked from."""
        leave((self.store, self._pool))
        self.begin()

    @property
    def pool(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(REQUESTS, thread_name_prefix="obstore")
            return self._pool

    def end(self) -> None:
        """Let the threads end; what waits for them is not begun any more."""
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)
            self._pool = None


_states: "weakref.WeakSet[_State]" = weakref.WeakSet()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: _after_fork())


def _after_fork() -> None:
    for state in list(_states):
        state.after_fork()


def _found(meta: Mapping[str, Any]) -> Found:
    return Found(int(meta["size"]), str(meta.get("e_tag") or meta.get("last_modified") or ""))


def _without(text: str, options: Mapping[str, Any]) -> str:
    """A reason without the values of options, which may be secret."""
    for value in options.values():
        if isinstance(value, str) and len(value) > 3:
            text = text.replace(value, "***")
    return text
