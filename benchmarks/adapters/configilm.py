"""ConfigILM itself: its BENv2 reader and its BENv2 data set over a native store."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy.typing as npt

from benchmarks.adapters.protocol import (
    NATIVE,
    Arrays,
    KeyedBatch,
    Loader,
    NativeStore,
    Pixels,
    Reader,
    Sources,
    once,
)
from benchmarks.adapters.torch_loader import Epochs, torch_loader

FLAGS = ("contains_seasonal_snow", "contains_cloud_or_shadow")


class ConfigILM(NativeStore):
    """The package in an environment of its own: it wants Python below 3.12 and NumPy below 2."""

    environment = "configilm"
    needs = ("configilm", "lmdb", "pandas", "pyarrow", "safetensors", "torch")


class ConfigILMReader(ConfigILM, Reader):
    """Its reader and its interpolation, patch by patch, and torch.stack."""

    name = "ConfigILM"
    note = "its own reader; fresh float32 tensors; looks up labels, too, but does not encode them"
    stored = NATIVE

    def __init__(self) -> None:
        super().__init__()
        self.reader: Any = None

    def prepare(self, sources: Sources) -> None:
        """Open the store as its data set does."""
        import torch
        from configilm.extra.BENv2_utils import BENv2LDMBReader, stack_and_interpolate

        torch.set_num_threads(1)  # as in a worker of a DataLoader, and as everyone else here
        self.reader = BENv2LDMBReader(
            image_lmdb_file=sources.native,
            metadata_file=sources.native / "metadata.parquet",
            bands="S2",
            process_bands_fn=partial(stack_and_interpolate, img_size=120, upsample_mode="nearest"),
        )

    def read(self, keys: Sequence[str], out: Pixels) -> Arrays:
        """Collate patches one by one; the reused buffer is of no use to it."""
        import torch

        batch: npt.NDArray[Any] = torch.stack([self.reader[key][0] for key in keys]).numpy()
        return batch


class ConfigILMLoader(ConfigILM, Loader):
    """torch's DataLoader over its data set, as its DataModule makes it."""

    name = "ConfigILM, DataLoader"
    note = "its data set; float32 images and encoded labels; workers persist, in its favour"

    def __init__(self) -> None:
        super().__init__()
        self.data: Any = None

    def write(self, sources: Sources) -> None:
        """Part the table, as it wants patches with snow or clouds in a table of their own."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        def write(folder: Path) -> None:
            folder.mkdir()
            table = pq.read_table(sources.native / "metadata.parquet")
            flagged = pc.or_(*(table[flag] for flag in FLAGS))
            pq.write_table(table.filter(pc.invert(flagged)), folder / "metadata.parquet")
            pq.write_table(table.filter(flagged), folder / "flagged.parquet")

        once(sources.forms / "configilm", write)

    def prepare(self, sources: Sources) -> None:
        """Make its data set; it has no choice of all twelve Sentinel-2 bands, so one is added."""
        from configilm.extra.BENv2_utils import STANDARD_BANDS
        from configilm.extra.DataSets.BENv2_DataSet import BENv2DataSet

        class Sentinel2(BENv2DataSet):  # type: ignore[misc]
            channel_configurations = {12: STANDARD_BANDS["S2"]}  # noqa: RUF012

        tables = sources.forms / "configilm"
        self.data = Sentinel2(
            data_dirs={
                "images_lmdb": sources.native,
                "metadata_parquet": tables / "metadata.parquet",
                "metadata_snow_cloud_parquet": tables / "flagged.parquet",
            },
            img_size=(12, 120, 120),
            return_extras=True,
            include_cloudy=True,
            include_snowy=True,
        )

    def epochs(self, batch: int, workers: int) -> Iterable[KeyedBatch]:
        """Shuffle, collate. The environment is closed first: it must not be carried over a fork."""
        reader = self.data.BENv2Loader
        if reader.env is not None:
            reader.env.close()
            reader.env = None
        loader = torch_loader(self.data, batch, workers)
        return Epochs(loader, lambda sample: (sample[2], sample[0]))
