"""A first description of a folder that nobody described, by what lies there.

It may import `tables`, `encoding`, `sources`, `descriptions` and the ground. It samples, so that a
folder of a million files takes seconds.
"""
