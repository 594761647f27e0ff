"""Where the patches of a dataset are, and their files: in folders or out of archives.

May import `descriptions` and the ground.
"""
