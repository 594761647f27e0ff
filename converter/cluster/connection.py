"""The connection to a scheduler of Dask: at an address, by its file, or one made here."""

import json
import logging
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchpress.converter.processes import without_main
from patchpress.converter.stderr import say
from patchpress.converter.without_pandas import let_pandas_in
from patchpress.readers.errors import ClusterError, OptionError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

_log = logging.getLogger(__name__)
LOCAL = "local"
CONNECT = 10.0
"""Seconds that a scheduler may take to answer."""
WORKERS = 60.0
"""Seconds to wait for the first worker."""


@contextmanager
def connected(scheduler: str, workers: int) -> "Iterator[Client]":
    """Connect to a scheduler that has a worker at the least, and say where its dashboard is.

    Args:
        scheduler: an address, ``tcp://HOST:PORT``; the path of a scheduler's file; or ``local``.
        workers: how many worker processes of one thread ``local`` starts, until the end.

    Raises:
        OptionError: Dask is not installed; no scheduler is meant by that.
        ClusterError: no scheduler answers there, or it has no workers.
    """
    let_pandas_in()  # the dashboard draws with it
    try:
        from distributed import Client
    except ImportError:
        raise OptionError(
            "a scheduler needs dask, which is not installed: pip install 'dask[distributed]'"
        ) from None
    with ExitStack() as stack:
        stack.enter_context(_quiet())
        where: Any = _local(stack, workers) if scheduler == LOCAL else _address(scheduler)
        try:
            client = Client(where, timeout=CONNECT, set_as_default=False)
        except (OSError, ValueError) as error:
            known = f"{scheduler} ({where})" if where != scheduler else scheduler
            _log.info("%s: %s", known, error)
            raise ClusterError(
                f"no scheduler answers at {known}: start one with `dask scheduler`, or give the "
                "address that it printed"
            ) from None
        stack.callback(_close, client)
        _wait_for_workers(client, scheduler)
        if client.dashboard_link and _has_dashboard(client):
            say(f"dashboard: {client.dashboard_link}")
        yield client


def _address(scheduler: str) -> str:
    """The address that is meant, or that a scheduler's file has.

    Raises:
        OptionError: it is neither an address nor a file.
        ClusterError: as `_address_in`.
    """
    if scheduler.endswith(".json") or Path(scheduler).is_file():
        return _address_in(Path(scheduler))
    host, colon, port = scheduler.rpartition(":")
    if not (host and colon and port.isdecimal()):
        raise OptionError(
            f"scheduler {scheduler!r} is no address as tcp://HOST:PORT, no file that a scheduler "
            f"wrote, and not {LOCAL}"
        )
    return scheduler


def _address_in(file: Path) -> str:
    """The address in a scheduler's file, which a scheduler that was just started may still write.

    Raises:
        ClusterError: it is not there in time, or no scheduler wrote it.
    """
    end = time.monotonic() + CONNECT
    while True:
        try:
            address = json.loads(file.read_bytes())["address"]
            if isinstance(address, str) and "://" in address:
                return address
        except (OSError, ValueError, LookupError, TypeError):
            pass
        if time.monotonic() > end:
            break
        time.sleep(0.05)
    if not file.exists():
        raise ClusterError(
            f"{file} is not there after {CONNECT:.0f} s: start a scheduler that writes it, with "
            "`dask scheduler --scheduler-file FILE`"
        )
    raise ClusterError(f"{file} is no file of a scheduler: give that of its `--scheduler-file`")


def _local(stack: ExitStack, workers: int) -> "LocalCluster":
    """Start a scheduler in this process, and worker processes of one thread."""
    import dask
    from distributed import LocalCluster

    # Dask's profile of its threads takes 4 % of a worker; nothing here reads it.
    stack.enter_context(dask.config.set({"distributed.worker.profile.enabled": False}))
    stack.enter_context(without_main())
    cluster = LocalCluster(
        n_workers=0,
        threads_per_worker=1,
        processes=True,
        memory_limit=0,  # what a worker needs is bounded; Dask would end one for its page cache
        dashboard_address=":0",
        silence_logs=logging.CRITICAL,
    )
    stack.callback(cluster.close)
    resource_tracker.ensure_running()  # its start would let the signal through again
    cluster.sync(_block_interrupts)
    cluster.scale(max(workers, 1))
    return cluster


async def _block_interrupts() -> None:
    """Leave Ctrl-C to this command alone.

    A terminal sends it to all processes of a command. Workers are started by the thread that runs
    this, and inherit what it blocks.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


def _wait_for_workers(client: "Client", scheduler: str) -> None:
    from distributed import TimeoutError as TimedOut

    try:
        client.wait_for_workers(1, timeout=WORKERS)
    except (TimedOut, TimeoutError):
        raise ClusterError(
            f"the scheduler at {scheduler} has no workers after {WORKERS:.0f} s: start some with "
            "`dask worker ADDRESS --nthreads 1`, and run the same command again"
        ) from None


def _has_dashboard(client: "Client") -> bool:
    return "dashboard" in client.scheduler_info().get("services", {})


def _close(client: "Client") -> None:
    """Leave, also if the scheduler is gone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client.close(timeout=2)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what Dask logs from stderr: what a user must know is said in a sentence."""
    loggers = [logging.getLogger(name) for name in ("distributed", "tornado", "asyncio", "bokeh")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
