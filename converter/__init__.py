"""Raw patch folders to stores: what the command `patchpress` calls."""

from converter.options import Codec, ConvertOptions, Layout, OnError, Resampling
from converter.pipeline import convert
from converter.report import Report

__all__ = [
    "Codec",
    "ConvertOptions",
    "Layout",
    "OnError",
    "Report",
    "Resampling",
    "convert",
]
