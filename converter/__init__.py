"""Raw patch folders and archives to stores: what the command `patchpress` does.

From top to bottom: the command itself (`cli`, `arguments`, `exits`), the rooms `commands`,
`planning`, `storage`, `tables`, `encoding`, `sources` and `descriptions`, and the other modules
beside this file, which all of them share. Each may import those below it, and `patchpress.readers`.
"""
