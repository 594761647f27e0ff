"""The usual converter: rasterio, a band at a time, in a process pool; the parent fills the LMDB."""

import sys

from benchmarks.adapters.protocol import Job, missing


class RasterioPool:
    """What rico-hdl does: see benchmarks/rasterio_pool.py."""

    name = "rasterio, process pool"
    note = "one fsync at the end; rico-hdl has one every 512 records: in its favour"

    def available(self) -> str | None:
        """Say what is missing."""
        return missing("lmdb", "rasterio", "safetensors")

    def command(self, job: Job) -> list[str]:
        """Give the command line."""
        return [
            sys.executable, "-m", "benchmarks.rasterio_pool", str(job.tree), str(job.store),
            "--layout", job.layout, "--workers", str(job.workers), "--modality", *job.modalities,
        ]  # fmt: skip
