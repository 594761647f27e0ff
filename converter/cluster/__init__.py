"""Work on many machines through a scheduler of Dask: connecting, checking workers, running tasks.

It knows nothing of what a task does. May import the shared modules and `patchpress.readers`.
"""
