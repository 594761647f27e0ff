"""A real server of Google Cloud Storage's protocol, `fake-gcs-server`, in a process of its own.

It does not take the requests with which obstore writes, so that files come there in another way.
`FAKE_GCS` names its program, if it is not on the path as `fake-gcs-server`.
"""

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

PROGRAM = "FAKE_GCS"
BUCKET = "bucket"
NO_FAKE_GCS = "fake-gcs-server is not installed"
"""The reason with which tests are skipped."""


def fake_gcs() -> str | None:
    """The program; None if it is not here."""
    return os.environ.get(PROGRAM) or shutil.which("fake-gcs-server")


class Gcs:
    """A server with one bucket."""

    def __init__(self, endpoint: str, folder: Path) -> None:
        self.endpoint = endpoint
        key = folder / "key.json"
        key.write_text(
            json.dumps(
                {"gcs_base_url": endpoint, "disable_oauth": True}
                | dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
            )
        )
        self.environment = {"GOOGLE_SERVICE_ACCOUNT": str(key)}
        """What opens a store there, for a process; `client_options` must allow http."""

    def upload(self, folder: Path, prefix: str) -> str:
        """Put all files of a folder below a prefix; gives its URL."""
        for path in folder.rglob("*"):
            if path.is_file():
                name = quote(f"{prefix}/{path.relative_to(folder)}", safe="")
                where = f"upload/storage/v1/b/{BUCKET}/o?uploadType=media&name={name}"
                self.post(where, path.read_bytes(), "application/octet-stream")
        return f"gs://{BUCKET}/{prefix}"

    def post(self, path: str, data: bytes, kind: str) -> None:
        """One request."""
        url = f"{self.endpoint}/{path}"
        request = Request(url, data, {"Content-Type": kind}, method="POST")  # noqa: S310
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            answer.read()


@contextmanager
def gcs_server(program: str, folder: Path) -> Iterator[Gcs]:
    """A server, until the block ends; `folder` is for its key."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{free.getsockname()[1]}"
    words = [program, "-scheme", "http", "-host", "127.0.0.1", "-port", host.split(":")[1]]
    words += ["-backend", "memory", "-public-host", host, "-log-level", "error"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            server, end = Gcs(f"http://{host}", folder), time.monotonic() + 60
            while True:
                try:
                    content = json.dumps({"name": BUCKET}).encode()
                    server.post("storage/v1/b", content, "application/json")
                    break
                except URLError:
                    assert process.poll() is None
                    assert time.monotonic() < end
                    time.sleep(0.05)
            yield server
        finally:
            process.kill()
