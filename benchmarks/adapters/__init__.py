"""The contestants: one small module each. To add one, write a class and list it here.

An adapter imports its library inside its methods, so that this package needs NumPy only and an
absent library becomes a row that says so.
"""

from benchmarks.adapters.configilm_way import ConfigILMWay
from benchmarks.adapters.memmap import Memmap
from benchmarks.adapters.patchpress import (
    PatchpressConverter,
    PatchpressNative,
    PatchpressStacked,
)
from benchmarks.adapters.protocol import Converter, Reader
from benchmarks.adapters.rasterio_pool import RasterioPool
from benchmarks.adapters.safetensors_numpy import SafetensorsNumpy
from benchmarks.adapters.torchgeo_way import TorchGeoWay

CONVERTERS: tuple[Converter, ...] = (PatchpressConverter(), RasterioPool())
READERS: tuple[Reader, ...] = (
    Memmap(),
    PatchpressStacked(),
    PatchpressNative(),
    SafetensorsNumpy(),
    ConfigILMWay(),
    TorchGeoWay(),
)
