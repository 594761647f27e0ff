"""Raw patch folders to stores: what the command `patchpress` calls."""

from converter.index import index
from converter.options import Codec, ConvertOptions, Layout, Nan, OnError, Resampling, SplitBy
from converter.pipeline import convert
from converter.report import Report
from converter.speed import bench
from converter.verify import Verdict, verify

__all__ = [
    "Codec",
    "ConvertOptions",
    "Layout",
    "Nan",
    "OnError",
    "Report",
    "Resampling",
    "SplitBy",
    "Verdict",
    "bench",
    "convert",
    "index",
    "verify",
]
