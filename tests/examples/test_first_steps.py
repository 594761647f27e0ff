"""The notebook of the examples, run from its first cell to its last by a real kernel."""

import base64
import re
from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat", reason="needs nbclient: pip install '.[dev]'")
nbclient = pytest.importorskip("nbclient", reason="needs nbclient: pip install '.[dev]'")
pytest.importorskip("ipykernel", reason="needs ipykernel: pip install '.[dev]'")
pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("matplotlib", reason="matplotlib is not installed")

pytestmark = [
    pytest.mark.slow,
    # Of the kernel's own client.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]
NOTEBOOK = Path(__file__).parents[2] / "examples" / "first_steps.ipynb"


def test_the_notebook_trains_a_network_and_shows_pictures() -> None:
    notebook = nbformat.read(NOTEBOOK, 4)
    assert all(not cell.get("outputs") for cell in notebook.cells)  # kept without results
    folder = {"metadata": {"path": str(NOTEBOOK.parent)}}
    nbclient.NotebookClient(notebook, timeout=300, resources=folder).execute()
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", [])]
    streams = [out["name"] for out in outputs if out["output_type"] == "stream"]
    assert "stderr" not in streams
    pictures = [out["data"]["image/png"] for out in outputs if "image/png" in out.get("data", {})]
    assert len(pictures) >= 2
    assert all(base64.b64decode(one)[:4] == b"\x89PNG" for one in pictures)
    texts = [out["data"]["text/plain"] for out in outputs if "text/plain" in out.get("data", {})]
    printed = "".join(out["text"] for out in outputs if out["output_type"] == "stream")
    losses = [float(loss) for loss in re.findall(r"mean loss ([\d.]+)", printed)]
    assert len(losses) == 8
    assert losses[-1] < losses[0]
    assert "labels are right" in texts[-1]
