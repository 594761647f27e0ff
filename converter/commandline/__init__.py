"""The words of the command line: which commands there are, and what they take."""
