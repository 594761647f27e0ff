"""The files of a patch to the bytes of its record: decode, resample, check, serialize.

May import `sources`, `descriptions`, the shared modules and `patchpress.readers`.
"""
