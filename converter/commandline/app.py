"""The app whose commands the other modules of this room add."""

from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from patchpress.converter.addressspace import TO_BEGIN, require_address_space
from patchpress.converter.arguments import Verbose
from patchpress.converter.commandline.values import parse_values_here
from patchpress.converter.exits import UsageError, output

Function = TypeVar("Function", bound=Callable[..., None])


class _Group(TyperGroup):
    """The command with its subcommands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words before the name of a subcommand."""
        parse_values_here(self.get_params(ctx))
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=_Group,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: what draws boxes takes longer to load than a small store
)


class _Command(TyperCommand):
    """A command whose errors name the command that they are about, and whose help has no types."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for one in self.params:
            if one.param_type_name == "argument":  # Typer would add <str> to STORE
                one.display_type_rich = lambda ctx: None  # type: ignore[attr-defined]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the words; some errors of click have no context, and get this one."""
        parse_values_here(self.get_params(ctx))
        try:
            return super().parse_args(ctx, args)
        except UsageError as error:
            error.ctx = error.ctx or ctx
            raise


def command(name: str | None = None) -> Callable[[Function], Function]:
    """A command whose first sentence stands whole in the list of commands; Typer would cut it."""

    def register(function: Function) -> Function:
        @wraps(function)
        def work(*args: Any, **kwargs: Any) -> None:
            require_address_space(TO_BEGIN)
            function(*args, **kwargs)

        summary = (function.__doc__ or "").partition("\n\n")[0]
        app.command(name, cls=_Command, short_help=summary)(work)
        return function

    return register


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        output(f"patchpress {version('patchpress')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def patchpress_(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
    verbose: Verbose = 0,
) -> None:
    """Satellite patches in, training batches out."""
    if context.invoked_subcommand is None:
        output(context.get_help())
