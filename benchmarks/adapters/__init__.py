"""The contestants: one small module each. To add one, write a class and list it here.

An adapter imports its library inside its methods, so that this package needs NumPy only and an
absent library becomes a row that says so.
"""

from benchmarks.adapters.configilm import ConfigILMLoader, ConfigILMReader
from benchmarks.adapters.configilm_way import ConfigILMWay
from benchmarks.adapters.hdf5 import Hdf5
from benchmarks.adapters.litdata import (
    LitDataLoader,
    LitDataRandom,
    LitDataRandomTuned,
    LitDataSequential,
)
from benchmarks.adapters.mds import MdsLoader, MdsReader
from benchmarks.adapters.memmap import Memmap, MemmapRGB
from benchmarks.adapters.patchpress import (
    PatchpressConverter,
    PatchpressNative,
    PatchpressNativeCold,
    PatchpressNativeRGB,
    PatchpressSharded,
    PatchpressStacked,
    PatchpressStackedCold,
    PatchpressStackedRGB,
)
from benchmarks.adapters.patchpress_loaders import (
    BareLoop,
    DatasetLoader,
    PatchLoaderEpochs,
    StagedLoaderEpochs,
)
from benchmarks.adapters.per_item import PerItemLoader
from benchmarks.adapters.plain import LmdbGet, Preadv, PreadvAnnounced
from benchmarks.adapters.protocol import Converter, Loader, Peer, Reader, Sequential
from benchmarks.adapters.rasterio_pool import RasterioPool
from benchmarks.adapters.safetensors_numpy import SafetensorsNumpy
from benchmarks.adapters.torchgeo_way import TorchGeoWay
from benchmarks.adapters.webdataset import WebDatasetLoader, WebDatasetSequential
from benchmarks.adapters.zarr import Zarr

MODES = ("direct", "map", "auto")

CONVERTERS: tuple[Converter, ...] = (PatchpressConverter(), RasterioPool())
READERS: tuple[Reader | Sequential, ...] = (
    Memmap(),
    PatchpressStacked(),
    PatchpressNative(),
    Hdf5(),
    MdsReader(),
    LitDataSequential(),
    LitDataRandomTuned(),
    SafetensorsNumpy(),
    WebDatasetSequential(),
    Zarr(),
    ConfigILMReader(),
    ConfigILMWay(),
    LitDataRandom(),
    TorchGeoWay(),
)
RGB_READERS: tuple[Reader, ...] = (
    Memmap(),
    MemmapRGB(),
    PatchpressStacked(),
    PatchpressStackedRGB(),
    PatchpressNative(),
    PatchpressNativeRGB(),
)
SHARD_READERS: tuple[Reader, ...] = (PatchpressStacked(), PatchpressSharded())
COLD_READERS: tuple[Reader, ...] = (
    Preadv(),
    PreadvAnnounced(),
    *(PatchpressStackedCold(mode) for mode in MODES),
    *(PatchpressNativeCold(mode) for mode in MODES),
    MdsReader(),
    Hdf5(),
    Memmap(),
    Zarr(),
    LmdbGet(readahead=False),
    LmdbGet(readahead=True),
)
LOADERS: tuple[Loader, ...] = (
    BareLoop(),
    PatchLoaderEpochs(),
    StagedLoaderEpochs(),
    DatasetLoader(),
    PerItemLoader(),
    MdsLoader(),
    LitDataLoader(),
    WebDatasetLoader(),
    ConfigILMLoader(),
)
PEERS: dict[str, tuple[Peer, ...]] = {
    "read": READERS,
    "rgb": RGB_READERS,
    "shards": SHARD_READERS,
    "cold": COLD_READERS,
    "loader": LOADERS,
}
