"""What parts the columns of a text."""

MARKS = ",;\t"


def delimiter_in(line: str) -> str:
    """Of a comma, a semicolon and a tab the most frequent in a line; a comma if it has none."""
    return max(MARKS, key=line.count)
