"""Satellite patches in, training batches out: convert a dataset once, then read it at full speed.

Each public name is imported when it is first asked for, so that importing this package loads
nothing: the reader never loads what converting needs, nor does either of them load torch.
"""

from importlib import import_module
from os import path as _path

TYPE_CHECKING = False  # as `typing` has it, which would take time to load; type checkers know it
if TYPE_CHECKING:
    from patchpress.converter.commands.bench import BenchReport, bench
    from patchpress.converter.commands.convert import convert
    from patchpress.converter.commands.convert_shards import convert_shard
    from patchpress.converter.commands.copied import Copied
    from patchpress.converter.commands.copy_store import copy_store, split_store
    from patchpress.converter.commands.datasets import datasets
    from patchpress.converter.commands.describe import FirstDescription, describe
    from patchpress.converter.commands.dry_run import dry_run
    from patchpress.converter.commands.export import export_store
    from patchpress.converter.commands.finish import finish_store
    from patchpress.converter.commands.finished_before import FinishedBefore
    from patchpress.converter.commands.forecast import Forecast
    from patchpress.converter.commands.index import Indexed, index
    from patchpress.converter.commands.inspect import Contents, inspect
    from patchpress.converter.commands.merge_stores import merge_stores
    from patchpress.converter.commands.missing import missing_shards
    from patchpress.converter.commands.plot import plot
    from patchpress.converter.commands.query import QueryResult, query
    from patchpress.converter.commands.shard_report import ShardReport
    from patchpress.converter.commands.split_table import split_table
    from patchpress.converter.commands.stage import Staged, stage
    from patchpress.converter.commands.stats import stats
    from patchpress.converter.commands.verdict import Verdict
    from patchpress.converter.commands.verify import verify
    from patchpress.converter.commands.view import view
    from patchpress.converter.exports.exported import Exported
    from patchpress.converter.options import (
        Codec,
        ConvertOptions,
        ExportCodec,
        ExportFormat,
        Layout,
        Nan,
        OnError,
        Resampling,
        SplitBy,
        Writer,
    )
    from patchpress.converter.progress import Progress, progress_bar
    from patchpress.converter.storage.report import Report
    from patchpress.readers.device import to_device
    from patchpress.readers.errors import (
        BandMissing,
        BufferUnfit,
        ClusterError,
        DescriptionError,
        ExtentsUnusable,
        FormatUnknown,
        GridsDiffer,
        KeyMissing,
        OptionError,
        PatchError,
        PatchpressError,
        SamplesLeftOut,
        SelectionEmpty,
        SourceError,
        SourceIncomplete,
        SourceMissing,
        StageUnusable,
        StatisticsMissing,
        StatisticsStale,
        StoreDamaged,
        StoreError,
        StoreMissing,
        StoreUnfinished,
        StoreUnreadable,
        TableError,
        TargetError,
        ViewImpossible,
    )
    from patchpress.readers.lightning import PatchDataModule
    from patchpress.readers.loader import PatchLoader
    from patchpress.readers.normalize import normalize
    from patchpress.readers.normalize_module import Normalize
    from patchpress.readers.samples import Samples
    from patchpress.readers.statistics import Statistics
    from patchpress.readers.store import Store, open_store
    from patchpress.readers.torch_dataset import PatchDataset

    __version__: str

__all__ = [
    "BandMissing",
    "BenchReport",
    "BufferUnfit",
    "ClusterError",
    "Codec",
    "Contents",
    "ConvertOptions",
    "Copied",
    "DescriptionError",
    "ExportCodec",
    "ExportFormat",
    "Exported",
    "ExtentsUnusable",
    "FinishedBefore",
    "FirstDescription",
    "Forecast",
    "FormatUnknown",
    "GridsDiffer",
    "Indexed",
    "KeyMissing",
    "Layout",
    "Nan",
    "Normalize",
    "OnError",
    "OptionError",
    "PatchDataModule",
    "PatchDataset",
    "PatchError",
    "PatchLoader",
    "PatchpressError",
    "Progress",
    "QueryResult",
    "Report",
    "Resampling",
    "Samples",
    "SamplesLeftOut",
    "SelectionEmpty",
    "ShardReport",
    "SourceError",
    "SourceIncomplete",
    "SourceMissing",
    "SplitBy",
    "StageUnusable",
    "Staged",
    "Statistics",
    "StatisticsMissing",
    "StatisticsStale",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreMissing",
    "StoreUnfinished",
    "StoreUnreadable",
    "TableError",
    "TargetError",
    "Verdict",
    "ViewImpossible",
    "Writer",
    "__version__",
    "bench",
    "convert",
    "convert_shard",
    "copy_store",
    "datasets",
    "describe",
    "dry_run",
    "export_store",
    "finish_store",
    "index",
    "inspect",
    "merge_stores",
    "missing_shards",
    "normalize",
    "open_store",
    "plot",
    "progress_bar",
    "query",
    "split_store",
    "split_table",
    "stage",
    "stats",
    "to_device",
    "verify",
    "view",
]

_NAMES = {
    "converter.commands.bench": ("BenchReport", "bench"),
    "converter.commands.convert": ("convert",),
    "converter.commands.convert_shards": ("convert_shard",),
    "converter.commands.shard_report": ("ShardReport",),
    "converter.commands.copied": ("Copied",),
    "converter.commands.copy_store": ("copy_store", "split_store"),
    "converter.commands.datasets": ("datasets",),
    "converter.commands.describe": ("FirstDescription", "describe"),
    "converter.commands.dry_run": ("dry_run",),
    "converter.commands.export": ("export_store",),
    "converter.commands.finish": ("finish_store",),
    "converter.commands.finished_before": ("FinishedBefore",),
    "converter.commands.forecast": ("Forecast",),
    "converter.commands.index": ("Indexed", "index"),
    "converter.commands.inspect": ("Contents", "inspect"),
    "converter.commands.merge_stores": ("merge_stores",),
    "converter.commands.missing": ("missing_shards",),
    "converter.commands.plot": ("plot",),
    "converter.commands.query": ("QueryResult", "query"),
    "converter.commands.split_table": ("split_table",),
    "converter.commands.stage": ("Staged", "stage"),
    "converter.commands.stats": ("stats",),
    "converter.commands.verdict": ("Verdict",),
    "converter.commands.verify": ("verify",),
    "converter.commands.view": ("view",),
    "converter.exports.exported": ("Exported",),
    "converter.options": (
        "Codec",
        "ConvertOptions",
        "ExportCodec",
        "ExportFormat",
        "Layout",
        "Nan",
        "OnError",
        "Resampling",
        "SplitBy",
        "Writer",
    ),
    "converter.progress": ("Progress", "progress_bar"),
    "converter.storage.report": ("Report",),
    "readers.device": ("to_device",),
    "readers.errors": (
        "BandMissing",
        "BufferUnfit",
        "ClusterError",
        "DescriptionError",
        "ExtentsUnusable",
        "FormatUnknown",
        "GridsDiffer",
        "KeyMissing",
        "OptionError",
        "PatchError",
        "PatchpressError",
        "SamplesLeftOut",
        "SourceIncomplete",
        "SelectionEmpty",
        "SourceError",
        "SourceMissing",
        "StageUnusable",
        "StatisticsMissing",
        "StatisticsStale",
        "StoreDamaged",
        "StoreError",
        "StoreMissing",
        "StoreUnfinished",
        "StoreUnreadable",
        "TableError",
        "TargetError",
        "ViewImpossible",
    ),
    "readers.lightning": ("PatchDataModule",),
    "readers.loader": ("PatchLoader",),
    "readers.normalize": ("normalize",),
    "readers.normalize_module": ("Normalize",),
    "readers.samples": ("Samples",),
    "readers.statistics": ("Statistics",),
    "readers.store": ("Store", "open_store"),
    "readers.torch_dataset": ("PatchDataset",),
}
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

_folder = __path__[0]
if not _path.isdir(_path.join(_folder, "readers")):
    # A copy of the repository without its two links, such as an unpacked source distribution: the
    # folders `converter` and `readers` are beside this one.
    __path__.append(_path.dirname(_folder))


def __getattr__(name: str) -> object:
    value: object
    if name == "__version__":
        from importlib.metadata import version

        value = version("patchpress")
    elif name in _MODULE_OF:
        try:
            module = import_module(f"patchpress.{_MODULE_OF[name]}")
        except ModuleNotFoundError as error:
            if error.name not in ("fcntl", "resource"):
                raise
            raise ImportError(
                f"patchpress.{name} needs Python's module {error.name}, which this system does not "
                "have (Linux and macOS do): open_store, Samples and the loaders read a store here"
            ) from None
        value = getattr(module, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
