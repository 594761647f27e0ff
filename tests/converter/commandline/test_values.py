"""Values are parsed without pydantic as Typer parses them with it."""

from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from patchpress.converter.cli import app
from patchpress.converter.commandline.values import parse_values_here

WORDS = ["x", "3", "-1", "0.5", "stacked", "none", "always", ".", "nowhere/at/all", "NAME=PATH"]


def group() -> Any:
    return get_command(app)


def parsed(command: Any, parameter: Any, value: Any) -> tuple[str, Any]:
    """What comes of a value: the value itself, or the class and words of an error."""
    context = command.context_class(command)
    try:
        return "value", parameter.process_value(context, value)
    except Exception as error:
        return type(error).__name__, str(error)


@pytest.mark.parametrize("name", sorted(group().commands))
def test_values_are_those_of_typer(name: str) -> None:
    ours, typers = group().commands[name], group().commands[name]
    parse_values_here(ours.params)
    for here, there in zip(ours.params, typers.params, strict=True):
        if here.callback is not None:
            continue  # it shows the log
        many = here.multiple or here.nargs == -1
        values: list[Any] = [None, *([[word] for word in WORDS] if many else WORDS)]
        if many:
            values += [(), ["a", "b"], ("a", "b")]
        if here.default is not None:
            values.append(here.default)
        for value in values:
            given = parsed(ours, here, value)
            assert given == parsed(typers, there, value), (here.name, value)
            assert type(given[1]) is type(parsed(typers, there, value)[1]), (here.name, value)


def test_a_path_that_may_not_be_read_is_left_to_typer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has a sentence for it."""
    monkeypatch.setattr("os.access", lambda path, mode: False)
    command = group().commands["convert"]
    parse_values_here(command.params)
    source = next(one for one in command.params if one.name == "source")
    kind, said = parsed(command, source, str(tmp_path))
    assert kind == "BadParameter"
    assert "is not readable" in said
