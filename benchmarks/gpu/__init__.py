"""A benchmark that stands alone, for a machine with a GPU that was just started.

    python -m benchmarks.gpu [--device cuda] [--patches 4096] [--out FOLDER]

It makes its own store of random pixels, compares what reaches the GPU with what the store holds,
and measures patches a second, and how long a training waits for data.
"""
