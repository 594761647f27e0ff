"""Raw patch folders to stores: what the command `patchpress` calls.

Each name is imported when it is first asked for: a conversion needs nothing of what verifies,
indexes or measures, and its start is a part of its time.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from converter.dry_run import dry_run
    from converter.forecast import Forecast
    from converter.index import index
    from converter.options import Codec, ConvertOptions, Layout, Nan, OnError, Resampling, SplitBy
    from converter.pipeline import convert
    from converter.report import Report
    from converter.speed import bench
    from converter.verify import Verdict, verify

__all__ = [
    "Codec",
    "ConvertOptions",
    "Forecast",
    "Layout",
    "Nan",
    "OnError",
    "Report",
    "Resampling",
    "SplitBy",
    "Verdict",
    "bench",
    "convert",
    "dry_run",
    "index",
    "verify",
]

_MODULES = {
    "dry_run": ("dry_run",),
    "forecast": ("Forecast",),
    "index": ("index",),
    "options": ("Codec", "ConvertOptions", "Layout", "Nan", "OnError", "Resampling", "SplitBy"),
    "pipeline": ("convert",),
    "report": ("Report",),
    "speed": ("bench",),
    "verify": ("Verdict", "verify"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


class _Package(ModuleType):
    """This package, whose public names are found late."""

    def __getattr__(self, name: str) -> object:
        if name not in _HOME:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value: object = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
        setattr(self, name, value)
        return value

    def __setattr__(self, name: str, value: object) -> None:
        # An import binds its module here; `verify` and `index` are the functions of that name.
        if not (name in _HOME and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Package
