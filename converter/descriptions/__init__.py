"""What a published dataset looks like on disk: TOML files, read strictly, and class lists.

May import the ground.
"""
