"""The progress bar in a real notebook: a kernel runs the cells, as JupyterLab does."""

import re
from pathlib import Path
from typing import Any

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbclient: pip install '.[dev]'")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient: pip install '.[dev]'")
pytest.importorskip("ipykernel", reason="needs ipykernel: pip install '.[dev]'")

pytestmark = [
    pytest.mark.slow,
    # Of the kernel's own client.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


def run(folder: Path, *cells: str) -> list[list[Any]]:
    """The outputs of each cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    client = nbclient.NotebookClient(
        notebook, timeout=120, resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return [cell["outputs"] for cell in notebook["cells"]]


def test_a_conversion_shows_a_bar_in_its_cell(tree: Path, tmp_path: Path) -> None:
    (shown, after) = run(
        tmp_path,
        "import patchpress\n"
        "with patchpress.progress_bar() as progress:\n"
        f"    patchpress.convert('bigearthnet-v2', {str(tree)!r}, 'ben.store', progress=progress);",
        "with patchpress.progress_bar() as progress:\n"
        "    patchpress.verify('ben.store', progress=progress)\n"
        "    progress.start('<b>mine</b>', 2)\n"
        "    progress.advance(1, 0)",
    )
    (bar,) = shown  # one bar, which changes in its place, and nothing on stderr
    assert re.search(r"<progress value=\"1\.0000\"", bar["data"]["text/html"])
    assert "45 of 45 records" in bar["data"]["text/plain"]
    assert bar["data"]["text/plain"].endswith("done")
    assert (tmp_path / "ben.store" / "manifest.json").exists()
    bars = [one for one in after if "text/html" in one.get("data", {})]
    assert "&lt;b&gt;mine&lt;/b&gt;: 1 of 2 records" in bars[-1]["data"]["text/html"]


def test_a_cell_that_fails_says_that_it_stopped(tmp_path: Path) -> None:
    with pytest.raises(nbclient.exceptions.CellExecutionError) as error:
        run(
            tmp_path,
            "import patchpress\n"
            "with patchpress.progress_bar() as progress:\n"
            "    progress.start('converting', 10)\n"
            "    raise ValueError('on purpose')",
        )
    assert "on purpose" in str(error.value)


def test_elsewhere_it_is_a_bar_or_lines() -> None:
    from patchpress import progress_bar
    from patchpress.converter.progress import ProgressBar, ProgressLines

    assert isinstance(progress_bar(), (ProgressBar, ProgressLines))
