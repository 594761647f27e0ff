"""`view`: a local page to walk through a store."""

import secrets
import socket
from collections.abc import Callable
from contextlib import suppress

from patchpress.converter.paths import StrPath, shown_place
from patchpress.readers.errors import OptionError
from patchpress.readers.store import open_store

HERE = "127.0.0.1"
LOCAL = ("127.0.0.1", "localhost", "::1", "[::1]")
"""Hosts that only this machine reaches, and those who tunnel to it."""


def view(
    store: StrPath,
    *,
    port: int = 8000,
    host: str = HERE,
    ready: Callable[[str], object] = print,
) -> None:
    """Serve a page that shows a store, until Ctrl-C.

    Args:
        store: folder of the store, or its URL.
        port: of this machine; 0 for a free one.
        host: address that is listened at. By default only this machine reaches the page; for any
            other address the page asks for a token, which is part of the printed address.
        ready: told of the page's address as soon as it answers.

    Raises:
        StoreError: there is no finished store.
        OptionError: the extra `view` is not installed, or the port cannot be had.
    """
    try:
        import uvicorn

        from patchpress.converter.viewer.app import application
    except ImportError:
        raise OptionError(
            "the page needs starlette and uvicorn, which are not installed: pip install "
            "starlette uvicorn"
        ) from None
    if not 0 <= port < 65_536:
        raise OptionError(
            f"port {port} is none: give a number from 1 to 65535, or 0 for a free one"
        )
    listening = _listening(host, port)
    with listening:
        is_local = host in LOCAL
        token = "" if is_local else secrets.token_urlsafe(16)
        hosts = LOCAL if is_local else ("*",)
        app = application(open_store(store), shown_place(store), token=token, hosts=hosts)
        address = f"http://{_in_url(host)}:{listening.getsockname()[1]}/"
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
        ready(address + (f"?token={token}" if token else ""))
        with suppress(KeyboardInterrupt):  # how its user ends it
            server.run(sockets=[listening])


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens already, so that whoever reads the address is answered."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except (OSError, OverflowError, UnicodeError) as error:
        raise OptionError(f"{host} is no address of this machine ({error})") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise OptionError(
            f"port {port} of {host} cannot be had ({error.strerror}): give another --port, or 0 "
            "for a free one"
        ) from None
    return listening


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host
