"""What a user asks for, one module a command, and the modules that only commands need.

May import every other room of the converter, its shared modules, and `patchpress.readers`.
"""
