"""Worker processes: whether they are forked or spawned, how they begin, and how they end.

`worker_pool` starts them and gives a function that hands them tasks; `in_order` keeps a bounded
number of tasks under way and gives their results in the order of the tasks.
"""

import ctypes
import logging
import multiprocessing
import os
import signal
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from multiprocessing.context import ForkContext, SpawnContext, SpawnProcess
from pathlib import Path
from typing import Any, ParamSpec, Protocol, TypeVar, runtime_checkable

from patchpress.converter.addressspace import TO_WORK, require_address_space
from patchpress.converter.shortage import shortage
from patchpress.readers.errors import OptionError, PatchpressError

P = ParamSpec("P")
T = TypeVar("T")
R = TypeVar("R")

_log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_TASKS = Path("/proc/self/task")  # a folder for each thread of this process
_OOM_SCORE = Path("/proc/self/oom_score_adj")
_EXPECT_FORK = {"jemalloc_bg_thd"}  # names of threads that jemalloc stops around a fork by itself


def start_context(count: int, work: str) -> ForkContext | SpawnContext:
    """The way to start `count` processes now: fork them, or spawn them.

    Forked workers begin at once. But a fork copies only the thread that forks. If another thread
    holds a lock at that moment (of pyarrow, of a memory allocator, of a notebook's kernel), the
    lock stays locked in the copy for ever. Nobody can see from outside whether a thread holds one,
    so this process forks only if it has no other thread, not even an idle one. Spawned workers are
    new Python processes: they import what they need, which takes some tenths of a second. Both
    kinds share memory with this process.

    Two kinds of threads do not count, because they are made for a fork: those that OpenBLAS starts
    when NumPy is imported, and those that jemalloc starts when pyarrow is imported.

    Raises:
        OptionError: this process may not start others.
    """
    if multiprocessing.current_process().daemon:
        raise OptionError(
            "this process is a daemon of multiprocessing, which may not start others: give workers "
            "0, and it does the work itself"
        )
    reason = reason_not_to_fork()
    how = f"spawned, not forked: {reason}" if reason else "forked: no other thread runs here"
    _log.info("processes for %s: %d, %s", work, count, how)
    return SpawnWithoutMain() if reason else ForkContext()


def reason_not_to_fork() -> str:
    """Why this process must not fork; empty if it may."""
    if sys.platform != "linux":
        return f"forks are not safe on {sys.platform}"
    names = [thread.name for thread in threading.enumerate()]
    if len(names) > 1:
        return f"this process has the threads {', '.join(names)}"
    try:
        native = _other_threads()
        if native:
            # OpenBLAS ends its threads before a fork, and starts them again when it needs them. So
            # the threads that are left after a fork, of a child that ends at once, are others'.
            _fork_once()
            native = _other_threads()
    except OSError as error:
        return f"its threads cannot be counted ({error.strerror})"
    return f"this process has {native} threads of compiled libraries" if native else ""


def _other_threads() -> int:
    """How many threads this process has besides the main one, without those of jemalloc."""
    found = -1
    for task in os.listdir(_TASKS):
        try:
            found += (_TASKS / task / "comm").read_text().strip() not in _EXPECT_FORK
        except OSError:  # the thread has ended
            continue
    return found


def _fork_once() -> None:
    with forking():
        child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


@contextmanager
def forking() -> Iterator[None]:
    """Start processes inside this block, which may be forked.

    Python 3.12 and later warn of a fork if there is any thread, OpenBLAS's too.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


class _Process(SpawnProcess):
    """A spawned process that does not import the user's script.

    By default a spawned process imports the script that started it, because its task may be defined
    there. Our tasks are not, and a script without ``if __name__ == "__main__"`` would do all its
    work again. `multiprocessing` does not import a main module whose name ends in ``.__main__``, so
    the script has such a name while the process is started.
    """

    def start(self) -> None:
        """Start it."""
        with without_main():
            super().start()


@contextmanager
def without_main() -> Iterator[None]:
    """Let processes that are spawned in this block not import the user's script."""
    main = sys.modules["__main__"]
    before = main.__spec__
    main.__spec__ = ModuleSpec("patchpress.__main__", None)
    try:
        yield
    finally:
        main.__spec__ = before


class SpawnWithoutMain(SpawnContext):
    """A context for `ProcessPoolExecutor`, whose processes do not import the user's script."""

    Process = _Process


@runtime_checkable
class Closes(Protocol):
    """What does tasks and has something to end after them, such as threads."""

    def close(self) -> None:
        """End it."""


class SerialExecutor(Executor):
    """Runs each task at once, in this process."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """A future that is already done."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def worker_pool(
    count: int, make: Callable[..., Callable[P, R]], *args: Any, work: str
) -> Iterator[Callable[P, Future[R]]]:
    """Start `count` worker processes, and end them with the block.

    Each calls ``make(*args)`` once, which gives the function that does its tasks; if `count` is 0,
    this process does so. Call it before this process starts threads, because then the workers can
    be forked, and before it opens an LMDB environment, which forked workers would inherit.

    Args:
        count: how many processes.
        make: a class or function that is defined in a module; called once in each worker.
        args: its arguments, which are pickled if the workers are spawned.
        work: what the workers do, for the sentence if one dies: ``"decoding"``.

    Gives:
        a function that submits a task: it takes the task's arguments and returns a future.

    Raises:
        PatchpressError: a worker died, or there is too little address space to go on.
        OptionError: this process may not start others.
    """
    if not count:
        require_address_space(TO_WORK)
        serial, task = SerialExecutor(), make(*args)
        try:
            yield lambda *each, **named: serial.submit(task, *each, **named)
        finally:
            if isinstance(task, Closes):
                task.close()
        return
    executor = _executor(count, work, (make, args, os.getpid()))
    try:
        with forking():
            for future in [executor.submit(os.getpid) for _ in range(count)]:
                future.result()
        require_address_space(TO_WORK)
        yield lambda *each, **named: executor.submit(_do, *each, **named)
    except OSError as error:
        _kill(executor)
        short = shortage(error)
        if not short or isinstance(error, PatchpressError):
            raise
        raise PatchpressError(short) from None
    except BrokenProcessPool:
        raise PatchpressError(
            f"a {work} process died (killed, or out of memory?): try again with fewer --workers"
        ) from None
    except BaseException:
        _kill(executor)  # nobody waits for their results, and one may be stuck in a file
        raise
    finally:
        executor.shutdown(cancel_futures=True)


def _executor(count: int, work: str, made: tuple[Any, ...]) -> ProcessPoolExecutor:
    """A pool whose processes are started when the first tasks come.

    Raises:
        PatchpressError: the system has too few files or too little memory for it.
        OptionError: this process may not start others.
    """
    try:
        return ProcessPoolExecutor(
            count, mp_context=start_context(count, work), initializer=_begin, initargs=made
        )
    except OSError as error:
        short = shortage(error)
        if not short:
            raise
        raise PatchpressError(short) from None


def in_order(
    items: Iterable[T], submit: Callable[[T], Future[R]], full: Callable[[int], bool]
) -> Iterator[tuple[T, R]]:
    """Submit items, and give each with its result, in the order of the items.

    If ``full(under_way)`` is true for the number of items that are under way, the oldest of them is
    given before the next is submitted.
    """
    under_way: deque[tuple[T, Future[R]]] = deque()
    for item in items:
        while under_way and full(len(under_way)):
            oldest, future = under_way.popleft()
            yield oldest, future.result()
        under_way.append((item, submit(item)))
    while under_way:
        oldest, future = under_way.popleft()
        yield oldest, future.result()


def _kill(executor: ProcessPoolExecutor) -> None:
    """End a pool's processes at once, whatever they do; also one that waits for a file."""
    # A pool that is shut down already has none. Python 3.14 has `kill_workers` for this.
    for process in list((executor._processes or {}).values()):
        process.kill()
    # One may have been killed while it wrote a result to the pipe. The pool's thread would wait for
    # the rest of it as long as the pipe has a writer, and this process is one.
    results = getattr(executor, "_result_queue", None)
    if results is not None:
        results._writer.close()


def become_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, end when it does, and before it if memory is short."""
    # A terminal sends Ctrl-C to the whole group of processes; only the parent reacts to it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # A parent that is killed by SIGKILL cannot end its workers; the kernel does it then.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
        # If memory ends, the kernel kills what takes most, which may be the parent: nobody could
        # tell then. So workers offer themselves.
        with suppress(OSError):
            _OOM_SCORE.write_text("1000")


# What this worker process does with a task. A process pool hands state to its tasks no other way.
_task: Callable[..., Any] | None = None


def _begin(make: Callable[..., Callable[..., Any]], args: tuple[Any, ...], parent: int) -> None:
    global _task
    become_worker(parent)
    _task = make(*args)


def _do(*args: Any, **kwargs: Any) -> Any:
    if _task is None:
        raise RuntimeError("this process is no worker: `worker_pool` starts them")
    return _task(*args, **kwargs)
