"""A real server of S3's protocol, `moto`, in a process of its own."""

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import obstore
from obstore.store import from_url

BUCKET = "bucket"
SECRET = "a-key-that-nobody-may-see"  # noqa: S105


class S3:
    """A server with one bucket."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.options: dict[str, Any] = {
            "endpoint": endpoint,
            "region": "us-east-1",
            "access_key_id": "somebody",
            "secret_access_key": SECRET,
            "client_options": {"allow_http": True},
        }
        """What opens a store there."""
        self.environment = {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_ALLOW_HTTP": "true",
        }
        """The same for a process."""
        self._bucket = from_url(f"s3://{BUCKET}", **self.options)

    def upload(self, folder: Path, prefix: str) -> str:
        """Put all files of a folder below a prefix; gives its URL."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())
        return f"s3://{BUCKET}/{prefix}"

    def files(self, prefix: str) -> dict[str, bytes]:
        """Name below a prefix -> bytes of all objects there."""
        found = [one["path"] for some in obstore.list(self._bucket, prefix) for one in some]
        return {
            name.removeprefix(f"{prefix}/"): bytes(obstore.get(self._bucket, name).bytes())
            for name in found
        }

    def put(self, name: str, data: bytes) -> None:
        """Put one object."""
        obstore.put(self._bucket, name, data)

    def remove(self, name: str) -> None:
        """Remove one object."""
        obstore.delete(self._bucket, name)

    def check_keys(self, after: int | None) -> None:
        """Refuse all requests after so many, since nobody has a right; never for None."""
        count = "inf" if after is None else str(after)
        self.request("POST", "moto-api/reset-auth", count.encode())

    def request(self, method: str, path: str, data: bytes | None = None) -> bytes:
        """One request without any signature."""
        headers = {"Content-Type": "text/plain"}  # else the bytes are taken for a form
        request = Request(f"{self.endpoint}/{path}", data, headers, method=method)  # noqa: S310
        with urlopen(request, timeout=60) as answer:  # noqa: S310
            body: bytes = answer.read()
        return body


@contextmanager
def s3_server() -> Iterator[S3]:
    """A server, until the block ends."""
    words = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stderr is not None
            lines: list[str] = []
            for line in process.stderr:
                lines.append(line)
                found = re.search(r"http://127\.0\.0\.1:\d+", line)
                if found:
                    break
            else:
                raise AssertionError("".join(lines))
            # What it logs of each request must not fill the pipe.
            reading = threading.Thread(target=process.stderr.read)
            reading.start()
            server = S3(found[0])
            server.request("PUT", BUCKET)
            yield server
            process.terminate()
            reading.join()
        finally:
            process.kill()
