"""Answers S3's GET and HEAD for the files of a folder, each after a delay, as one far away.

``python -m benchmarks.delaying_server FOLDER SECONDS`` prints its port. A bucket is a folder.
"""

import asyncio
import re
import sys
from pathlib import Path

_RANGE = re.compile(rb"range: bytes=(\d+)-(\d+)", re.IGNORECASE)


class Server:
    """Many connections at once, each request delayed by itself."""

    def __init__(self, folder: Path, delay: float) -> None:
        self._folder, self._delay = folder, delay

    async def serve(self) -> None:
        """Print the port, and answer until this process ends."""
        server = await asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=256)
        print(server.sockets[0].getsockname()[1], flush=True)
        await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                request = await reader.readuntil(b"\r\n\r\n")
                await asyncio.sleep(self._delay)
                writer.write(self._answer(request))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    def _answer(self, request: bytes) -> bytes:
        method, target, _ = request.split(b" ", 2)
        path = self._folder / target.decode().partition("?")[0].lstrip("/")
        if not path.is_file():
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        size, asked = path.stat().st_size, _RANGE.search(request)
        start, end = (int(asked[1]), min(int(asked[2]) + 1, size)) if asked else (0, size)
        head = (
            f"HTTP/1.1 {'206 Partial Content' if asked else '200 OK'}\r\n"
            f"Content-Length: {end - start}\r\nContent-Range: bytes {start}-{end - 1}/{size}\r\n"
            f'ETag: "{size}"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n'
        ).encode()
        if method == b"HEAD":
            return head
        with path.open("rb") as file:
            file.seek(start)
            return head + file.read(end - start)


if __name__ == "__main__":
    asyncio.run(Server(Path(sys.argv[1]), float(sys.argv[2])).serve())
