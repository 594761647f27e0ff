"""Raw patch folders and archives to stores: what the command `patchpress` does.

Rooms from top to bottom; each may import those below it: `commands`, `planning`, `storage`,
`tables`, `encoding`, `sources`, `descriptions`, and the modules of the ground beside this file.
"""
