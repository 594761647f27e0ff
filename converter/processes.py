"""Where encoding runs: in this process or in others, each a `concurrent.futures.Executor`."""

import ctypes
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

# Forked workers share anonymous memory with the writer: pixels need no pickling and no named
# segment that a killed process would leave behind. Elsewhere fork is absent or unsafe.
CAN_FORK = sys.platform == "linux"
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


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
def forking() -> Iterator[None]:
    """Where this process forks, with no threads but NumPy's idle BLAS threads, which expect it.

    Python 3.12 warns of any.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield


def process_pool(workers: int, initializer: Callable[..., None], *args: Any) -> Executor:
    """A pool of processes that has started; each has run ``initializer(*args)``.

    Call it before this process starts threads or opens an LMDB environment: forked workers would
    inherit both.
    """
    context = multiprocessing.get_context("fork" if CAN_FORK else "spawn")
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_start, initargs=(initializer, args, os.getpid())
    )
    with forking():
        for future in [pool.submit(os.getpid) for _ in range(workers)]:
            future.result()
    return pool


def kill(executor: Executor) -> None:
    """End a pool's processes at once, whatever they are at: a file that never comes, too.

    What was submitted is lost. Other executors are left as they are.
    """
    if isinstance(executor, ProcessPoolExecutor):
        # A pool that is shut down already has none. Python 3.14 has `kill_workers` for this.
        for process in list((executor._processes or {}).values()):
            process.kill()


def become_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and end when it does."""
    # Ctrl-C reaches the whole group; only the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        # A parent that is killed outright cannot shut its workers down.
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def _start(initializer: Callable[..., None], args: tuple[Any, ...], parent: int) -> None:
    become_worker(parent)
    initializer(*args)
