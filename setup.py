"""Makes the page of the package index: README.md, whose links must lead somewhere from there.

All else of the build stands in pyproject.toml.
"""

import re
import tomllib
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
LINK = re.compile(r"(?P<picture>!?)\[(?P<text>[^\]]*)\]\((?!https?:|#|mailto:)(?P<to>[^)]+)\)")


def page(text: str, source: str | None, version: str) -> str:
    """README.md for a page that has no file of the project beside it.

    With the address of the repository (`source`), links lead to its files at the tag of this
    version. Without one a link becomes its words and the name of the file, which the source
    distribution has, and pictures are left out.
    """

    def link(found: re.Match[str]) -> str:
        kind = "raw" if found["picture"] else "blob"
        if source is not None:
            address = f"{source.rstrip('/')}/{kind}/v{version}/{found['to']}"
            return f"{found['picture']}[{found['text']}]({address})"
        file = found["to"].partition("#")[0]
        if found["picture"]:
            return ""
        return f"`{file}`" if found["text"] == file else f"{found['text']} (`{file}`)"

    page = re.sub(r"\n{3,}", "\n\n", LINK.sub(link, text))
    if source is not None:
        return page
    return f"{page.rstrip()} Files named here are in the source distribution.\n"


project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
setup(
    long_description=page(
        (ROOT / "README.md").read_text("utf-8"),
        project.get("urls", {}).get("Source"),
        project["version"],
    ),
    long_description_content_type="text/markdown",
)
