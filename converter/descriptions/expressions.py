"""Regular expressions of descriptions, which somebody else may have written.

Python's own engine may take for ever: ``(a+)+b`` does for forty times "a". The expressions of
descriptions that come with this package are tried, and run in it. All others run in `regex`, which
has the same language and stops after a while, at some 2 us a name.
"""

import re
import sys
import warnings
from functools import lru_cache
from typing import Any, Protocol

from patchpress.readers.errors import DescriptionError

LONGEST = 1.0  # seconds for one name; a sound expression takes microseconds


class Expression(Protocol):
    """What is asked of an expression: as `re.Pattern` has it."""

    def fullmatch(self, string: str, pos: int = 0, endpos: int = sys.maxsize) -> Any:
        """The match of a whole name, or of the part from `pos` to `endpos`; or None.

        Raises:
            DescriptionError: it took longer than `LONGEST`.
        """


@lru_cache(maxsize=256)
def expression(text: str, *, limited: bool) -> Expression:
    """An expression from its text; `limited` unless it came with this package.

    Raises:
        re.error: the text is no regular expression.
    """
    found = _compiled(text)
    return _Limited(text) if limited else found


def groups_in(text: str) -> set[str]:
    """The names of the groups of an expression.

    Raises:
        re.error: the text is no regular expression.
    """
    return set(_compiled(text).groupindex)


def _compiled(text: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of a later Python
            return re.compile(text)
    except (OverflowError, RecursionError) as error:
        raise re.error(str(error)) from None


class _Limited:
    def __init__(self, text: str) -> None:
        import regex  # 9 ms at each start, and descriptions of the package need none of it

        try:
            self._expression = regex.compile(text)
        except (regex.error, OverflowError, RecursionError) as error:
            raise re.error(str(error)) from None

    def fullmatch(self, string: str, pos: int = 0, endpos: int = sys.maxsize) -> Any:
        try:
            return self._expression.fullmatch(string, pos, endpos, timeout=LONGEST)
        except TimeoutError:
            text = self._expression.pattern
            raise DescriptionError(
                f"the expression {text!r} takes more than {LONGEST:g} s for the name {string!r}: "
                "write it without a repeat inside of a repeat, as (a+)+ is one"
            ) from None
