"""What the tests let workers do: a task must be defined in a module that workers can import."""

import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

from patchpress.converter.cluster.on_worker import TaskProgress
from patchpress.readers.errors import SourceError


class Steps(NamedTuple):
    """A task of some steps, which notes in a folder what became of it."""

    folder: str
    name: str
    steps: int
    dies: bool = False
    fails: bool = False


def take_steps(task: Steps, progress: TaskProgress) -> str:
    """Take the steps; a task that dies does so once."""
    folder = Path(task.folder)
    (folder / f"{task.name}.begun").touch()
    try:
        for _ in range(task.steps):
            time.sleep(0.05)
            progress.advance(1, 10)
            if task.dies and not (folder / f"{task.name}.died").exists():
                (folder / f"{task.name}.died").touch()
                os.kill(os.getpid(), signal.SIGKILL)
        if task.fails:
            raise SourceError(f"{task.name} is not as described")
    except BaseException as error:
        (folder / f"{task.name}.ended").write_text(repr(error))
        raise
    return task.name.upper()
