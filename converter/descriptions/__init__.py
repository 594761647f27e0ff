"""What published data sets look like on disk: descriptions and class lists, read from TOML files.

May import the shared modules and `patchpress.readers`. No code names a data set: each is a file in
`datasets`.
"""
