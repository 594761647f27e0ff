"""What is known of a conversion before it writes: its options, patches, samples and free space.

May import `storage`, `tables`, `encoding`, `sources`, `descriptions`, the shared modules and
`patchpress.readers`.
"""
