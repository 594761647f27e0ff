"""What a conversion takes, found out before it writes: options, patches, samples, free space.

May import `storage`, `tables`, `encoding`, `sources`, `descriptions`, the shared modules and
`patchpress.readers`.
"""
