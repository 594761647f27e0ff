"""URLs of stores: which there are, and how they are shown without what is secret in them."""

import base64
import os
import re
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from patchpress.readers.errors import OptionError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
WEB = ("https", "http")
KNOWN = {
    "s3": "Amazon S3, and servers like it",
    "gs": "Google Cloud Storage",
    "az": "Azure Blob Storage",
    "https": "a web server",
    "http": "a web server",
}
_OTHER_NAMES = {"s3a": "s3", "gcs": "gs", "azure": "az", "abfs": "az", "abfss": "az"}
_LOST_SLASH = re.compile(rf"({'|'.join([*KNOWN, *_OTHER_NAMES])}):/(?!/)")
HIDDEN = "***"


def is_url(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a URL and no path of this machine.

    Raises:
        OptionError: it was a URL before it became a `Path`, which takes one slash away.
    """
    text = os.fspath(path)
    if not isinstance(path, str) and _LOST_SLASH.match(text):
        raise OptionError(f"{shown_url(url_in(path) or text)} is a URL in a Path: give it as text")
    return isinstance(text, str) and _URL.match(text) is not None


def url_in(path: str | os.PathLike[str]) -> str | None:
    """The URL that a path is, or was before it became a `Path`; None if it is none."""
    text = os.fspath(path)
    if _URL.match(text):
        return text
    return _LOST_SLASH.sub(r"\1://", text, count=1) if _LOST_SLASH.match(text) else None


def checked_url(url: str) -> str:
    """A URL of a scheme that is known, without slashes at its end.

    Raises:
        OptionError: another scheme, or no bucket or host.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise OptionError(f"{shown_url(url)} is no URL ({error})") from None
    scheme = _OTHER_NAMES.get(parts.scheme, parts.scheme)
    if scheme == "file":
        raise OptionError(f"{shown_url(url)} is of this machine: give the path itself")
    if scheme not in KNOWN:
        there = ", ".join(f"{name}:// ({what})" for name, what in KNOWN.items())
        raise OptionError(f"{shown_url(url)} is of no kind that is known: there are {there}")
    if not host:
        what = "host" if scheme in WEB else "bucket"
        raise OptionError(
            f"{shown_url(url)} names no {what}: write {scheme}://{what.upper()}/FOLDER"
        )
    if scheme not in WEB and (parts.query or parts.fragment):
        raise OptionError(
            f"{shown_url(url)} has more behind its path: give options of {scheme}:// by "
            "storage_options, or in the environment"
        )
    scheme = parts.scheme if parts.scheme.startswith("abfs") else scheme
    return urlunsplit(parts._replace(scheme=scheme, path=parts.path.rstrip("/"), fragment=""))


def without_user(url: str) -> tuple[str, dict[str, str]]:
    """(a URL of the web without user and password, the header that says them to the server)."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, {}
    said = base64.b64encode(unquote(user).encode()).decode()
    return urlunsplit(parts._replace(netloc=host)), {"authorization": f"Basic {said}"}


def shown_url(url: str) -> str:
    """A URL as messages show it: without user, password and the values of its query."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return re.sub(r"://[^/]*@|\?.*", HIDDEN, url)
    query = re.sub(r"=[^&]*", f"={HIDDEN}", parts.query)
    query = query if "=" in query or not query else HIDDEN
    return urlunsplit(SplitResult(parts.scheme, _host(parts.netloc), parts.path, query, ""))


def _host(netloc: str) -> str:
    user, at, host = netloc.rpartition("@")
    # abfs[s]://CONTAINER@ACCOUNT… has no secret there.
    return f"{HIDDEN if ':' in user else user}{at}{host}" if at else netloc
