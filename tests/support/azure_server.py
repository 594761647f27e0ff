"""A real server of Azure Blob Storage's protocol, `azurite`, in a process of its own.

It comes from npm: ``npm install azurite``. `AZURITE` names its program `azurite-blob`, if that is
not on the path.
"""

import base64
import hashlib
import hmac
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.client import HTTPConnection
from pathlib import Path

import obstore
from obstore.store import from_url

PROGRAM = "AZURITE"
ACCOUNT = "devstoreaccount1"
SECRET = base64.b64encode(b"a key that nobody may see").decode()
CONTAINER = "bucket"
NO_AZURITE = "azurite is not installed (npm install azurite)"
"""The reason with which tests are skipped."""


def azurite() -> str | None:
    """The program; None if it is not here."""
    return os.environ.get(PROGRAM) or shutil.which("azurite-blob")


class Azure:
    """A server with one container."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.environment = {
            "AZURE_STORAGE_ACCOUNT_NAME": ACCOUNT,
            "AZURE_STORAGE_ACCOUNT_KEY": SECRET,
            "AZURE_STORAGE_ENDPOINT": f"http://127.0.0.1:{port}/{ACCOUNT}",
            "AZURE_ALLOW_HTTP": "true",
        }
        """What opens a store there, for a process."""
        self._options = {
            "account_name": ACCOUNT,
            "account_key": SECRET,
            "endpoint": self.environment["AZURE_STORAGE_ENDPOINT"],
            "client_options": {"allow_http": True},
        }

    def files(self, prefix: str) -> dict[str, bytes]:
        """Name below a prefix -> bytes of all objects there."""
        container = from_url(f"az://{CONTAINER}", **self._options)
        found = [one["path"] for some in obstore.list(container, prefix) for one in some]
        return {
            name.removeprefix(f"{prefix}/"): bytes(obstore.get(container, name).bytes())
            for name in found
        }

    def make_container(self) -> None:
        """Make the container, which obstore cannot: a request with a shared key."""
        headers = {"x-ms-date": formatdate(usegmt=True), "x-ms-version": "2021-08-06"}
        told = "".join(f"{name}:{value}\n" for name, value in headers.items())
        what = f"/{ACCOUNT}/{ACCOUNT}/{CONTAINER}\nrestype:container"
        text = "PUT" + "\n" * 12 + told + what
        digest = hmac.new(base64.b64decode(SECRET), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {ACCOUNT}:{base64.b64encode(digest).decode()}"
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection.request("PUT", f"/{ACCOUNT}/{CONTAINER}?restype=container", b"", headers)
        answer = connection.getresponse()
        assert answer.status == 201, answer.read()
        connection.close()


@contextmanager
def azure_server(program: str, folder: Path) -> Iterator[Azure]:
    """A server, until the block ends; `folder` is for its log."""
    words = [program, "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence"]
    words += ["--silent", "--skipApiVersionCheck", "--disableTelemetry"]
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{SECRET}"}
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder,
        env=environment,
    ) as process:  # fmt: skip
        try:
            assert process.stdout is not None
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                found = re.search(r"listens on http://127\.0\.0\.1:(\d+)", line)
                if found:
                    break
            else:
                raise AssertionError("".join(lines))
            server = Azure(int(found[1]))
            server.make_container()
            yield server
        finally:
            process.kill()
