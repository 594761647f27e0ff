"""The rows of metadata.parquet: official tables, lists and splits joined with what was stored.

May import `encoding`, `sources`, `descriptions`, the shared modules and `patchpress.readers`.
"""
