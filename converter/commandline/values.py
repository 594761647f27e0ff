"""The values of a command line, taken from its words without pydantic.

From version 0.29 on, Typer hands every value to pydantic, also that of an option that is not given.
To import pydantic takes a fifth of the time of a small conversion. Our own options have parsers of
their own, or are text and paths, which need none of it.
"""

import os
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

_UNKNOWN = object()  # a value that is left to Typer


def parse_values_here(parameters: Iterable[Any]) -> None:
    """Let the parameters of a command parse what they can by themselves.

    Older versions of Typer have no `type_descriptor`, and need no pydantic.
    """
    for parameter in parameters:
        if hasattr(parameter, "type_descriptor") and "process_value" not in vars(parameter):
            parameter.process_value = partial(_process, parameter, parameter.process_value)


def _process(parameter: Any, usual: Callable[[Any, Any], Any], context: Any, value: Any) -> Any:
    """The value of a parameter; `usual` is how Typer gets it."""
    parsed = _value(parameter, value)
    if parsed is _UNKNOWN:
        return usual(context, value)
    return parameter.callback(context, parameter, parsed) if parameter.callback else parsed


def _value(parameter: Any, value: Any) -> Any:
    described = parameter.type_descriptor
    parse = described.parameter_info.parser
    is_list = parameter.multiple or parameter.nargs == -1
    if value is None or value == ():
        if parameter.required:
            return _UNKNOWN  # Typer says that it is missing
        if value is None:
            return () if is_list else None
        return []
    if is_list:
        if isinstance(value, str) or described.annotation != list[str]:
            return _UNKNOWN
        return [_one(one, str, parse) for one in value]
    return _one(value, described.annotation, parse)


def _one(value: Any, kind: Any, parse: Callable[[Any], Any] | None) -> Any:
    if parse is not None:
        return parse(value)
    if kind is Path and isinstance(value, str):
        # Typer refuses what may not be read.
        return Path(value) if os.access(value, os.R_OK) or not os.path.exists(value) else _UNKNOWN
    return value if type(value) is kind else _UNKNOWN
