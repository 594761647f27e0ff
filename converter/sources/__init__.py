"""Where the patches of a dataset are, and their files: in folders or out of archives.

May import `descriptions`, the shared modules and `patchpress.readers`.
"""
