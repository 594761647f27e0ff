"""JSON files that carry a digest of themselves, so that no changed byte of them goes unnoticed.

The digest is the last key, alone on the last but one line: the SHA-256 of all bytes before that
line, ``head -n -2 FILE | sha256sum``. It tells damage and a hand's changes; it is no signature.
"""

import hashlib
import json
from typing import Any

from patchpress.readers.format.schema import FieldError

DIGEST = "digest"


def seal(content: dict[str, Any]) -> bytes:
    """Content as JSON that ends in its digest: the same bytes for the same content."""
    text = json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False)
    head = f"{text.removesuffix(chr(10) + '}')},\n".encode()
    return head + _end(head)


def parse(data: bytes) -> dict[str, Any]:
    """The content of a JSON file that is a table, read as `parse_json` does.

    Raises:
        FieldError: it is no JSON, or not a table.
    """
    content = parse_json(data)
    if not isinstance(content, dict):
        raise FieldError("it is no table")
    return content


def parse_json(data: bytes) -> Any:
    """What JSON says, strictly read: no name twice, no NaN.

    Raises:
        FieldError: it is no JSON.
    """
    try:
        return json.loads(data.decode(), object_pairs_hook=_table, parse_constant=_no_number)
    except FieldError:
        raise
    except json.JSONDecodeError as error:
        raise FieldError(f"it is no JSON: {error}") from None
    except (ValueError, RecursionError) as error:
        raise FieldError(f"it is no JSON: {type(error).__name__}") from None


def unsealed(data: bytes, content: dict[str, Any]) -> dict[str, Any]:
    """The parsed content of a file without its digest, if that is the file's.

    Raises:
        FieldError: it has none, or another.
    """
    end = _end(b"")
    if DIGEST not in content or len(data) <= len(end):
        raise FieldError(f"it has no {DIGEST}")
    if not data.endswith(_end(data[: -len(end)])):
        raise FieldError("it was changed since it was written, as its digest shows")
    return {name: value for name, value in content.items() if name != DIGEST}


def _end(head: bytes) -> bytes:
    return f' "{DIGEST}": "sha256:{hashlib.sha256(head).hexdigest()}"\n}}\n'.encode()


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise FieldError(f"the key {twice!a} is there twice")
    return table


def _no_number(name: str) -> None:
    raise FieldError(f"{name} is no number of JSON")
