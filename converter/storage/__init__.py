"""Records to the folder of a store: its data file, its journal, its manifest, its report.

May import `tables`, `encoding`, `sources`, `descriptions`, the shared modules and
`patchpress.readers`.
"""
