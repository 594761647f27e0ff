"""Leaves pandas out of the command's process, which has no use for it.

pyarrow imports it, if it is installed, to see whether a value is one of its own: 0.25 s of each
run, and 30 MB.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


class _NoPandas(MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> None:
        """Refuse pandas as if it was not installed.

        Raises:
            ModuleNotFoundError: it is asked for.
        """
        if name == "pandas":
            raise ModuleNotFoundError("the command leaves pandas out", name=name)


def leave_out_pandas() -> None:
    """Let imports of pandas say from now on that it is not installed."""
    let_pandas_in()
    sys.meta_path.insert(0, _NoPandas())


def let_pandas_in() -> None:
    """Undo it for other libraries, such as the dashboard of Dask."""
    sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, _NoPandas)]
