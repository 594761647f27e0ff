"""One module a command: what a user asks for, done by the rooms below.

May import every other room of the converter, and `patchpress.readers`.
"""
