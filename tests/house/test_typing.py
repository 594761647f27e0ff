"""What strict type checkers see of the installed package: all public names, with their types."""

import ast
from pathlib import Path

import patchpress

PACKAGE = Path(str(patchpress.__file__))


def names_for_checkers() -> list[str]:
    """What `patchpress/__init__.py` imports for type checkers only."""
    tree = ast.parse(PACKAGE.read_text())
    (guarded,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
    )
    imported = [node for node in guarded.body if isinstance(node, ast.ImportFrom)]
    return [alias.name for node in imported for alias in node.names]


def test_type_checkers_know_every_public_name() -> None:
    """A name without its import there is an `object` to them, and no class."""
    names = names_for_checkers()
    assert len(set(names)) == len(names)
    assert {*names, "__version__"} == set(patchpress.__all__)
