"""A web server of the standard library that answers requests for ranges, with faults on request."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

_RANGE = re.compile(r"bytes=(\d+)-(\d+)")


class WebServer(ThreadingHTTPServer):
    """Serves one folder. What a test sets holds for the next requests."""

    daemon_threads = False
    request_queue_size = 256

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.ranges = True
        self.failing = 0
        """So many of the next requests for a range end with status 503."""
        self.refusing = False
        self.delay = 0.0
        """Seconds before each answer."""
        self.cut: dict[str, int] = {}
        """Name -> how many bytes the file has instead of its own."""
        self.tags: dict[str, str] = {}
        """Name -> ETag instead of its own."""
        self.asked: list[tuple[str, str]] = []
        """(path with query, range) of each GET."""
        self.said: set[str] = set()
        """Authorization headers that came."""
        self.connections: set[socket.socket] = set()
        self.under_way = self.most_under_way = 0
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def end_connections(self) -> None:
        """Let the threads end, which wait for further requests of clients."""
        for connection in list(self.connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that leave."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WebServer

    def log_message(self, *_: Any) -> None:
        """Print nothing."""

    def setup(self) -> None:
        super().setup()
        self.server.connections.add(self.connection)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        with self.server.lock:
            self.server.asked.append((self.path, self.headers.get("Range", "")))
            self.server.said.add(self.headers.get("Authorization", ""))
            self.server.under_way += 1
            self.server.most_under_way = max(self.server.under_way, self.server.most_under_way)
        try:
            self._answer(body=True)
        finally:
            with self.server.lock:
                self.server.under_way -= 1

    def _answer(self, *, body: bool) -> None:
        server = self.server
        if server.delay:
            time.sleep(server.delay)
        name = self.path.partition("?")[0].lstrip("/")
        path = server.folder / name
        if server.refusing:
            self._end(403)
        elif not path.is_file():
            self._end(404)
        else:
            data = path.read_bytes()[: server.cut.get(name)]
            self._send(name, data, body=body)

    def _send(self, name: str, data: bytes, *, body: bool) -> None:
        asked = _RANGE.fullmatch(self.headers.get("Range", ""))
        tag = {"ETag": self.server.tags.get(name, f'"{len(data)}"')}
        if asked is None or not self.server.ranges:
            self._end(200, data, body, tag)
            return
        with self.server.lock:
            fails = self.server.failing > 0
            self.server.failing -= fails
        if fails:
            self._end(503)
            return
        start, end = int(asked[1]), min(int(asked[2]) + 1, len(data))
        if start >= len(data):
            self._end(416)
            return
        tag["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        self._end(206, data[start:end], body, tag)

    def _end(self, status: int, data: bytes = b"", body: bool = True, headers: Any = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


@contextmanager
def serving(folder: Path) -> Iterator[WebServer]:
    """A server of a folder, until the block ends."""
    with WebServer(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            server.end_connections()
            thread.join()
