"""The server of the page: a Starlette application over a store."""

import hmac
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from patchpress.converter.pictures.coastline import coastlines
from patchpress.converter.viewer.asked import Asked, asked_of
from patchpress.converter.viewer.catalogue import Catalogue
from patchpress.converter.viewer.export import KINDS, exported
from patchpress.converter.viewer.images import Images
from patchpress.converter.viewer.row import row_facts
from patchpress.converter.viewer.summary import summary
from patchpress.readers.errors import OptionError, PatchpressError
from patchpress.readers.store import Store

PAGE = Path(__file__).with_name("page")
FILES = {
    "index.html": "text/html; charset=utf-8",
    "view.css": "text/css; charset=utf-8",
    "view.js": "text/javascript; charset=utf-8",
    "wall.js": "text/javascript; charset=utf-8",
    "patch.js": "text/javascript; charset=utf-8",
    "places.js": "text/javascript; charset=utf-8",
}
"""Files of the page and their media types: no other file can be asked for."""
MOST_ROWS = 1000
COOKIE = "patchpress-token"
HEADERS = {
    # Nothing but our own files runs or is loaded, whatever a name in a store looks like.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def application(store: Store, place: str, *, token: str = "", hosts: tuple[str, ...]) -> Starlette:
    """The application that shows a store.

    Args:
        store: the store; its table is read here.
        place: what it is called.
        token: what a browser must show once; empty if everybody who reaches the port may look.
        hosts: names under which it may be asked for, so that no other page of a browser reads it
            under a name of its own; ``*`` for any.
    """
    return _Pages(store, place, token).application(hosts)


class _Pages:
    def __init__(self, store: Store, place: str, token: str) -> None:
        self._store, self._place, self._token = store, place, token
        self._catalogue = Catalogue(store)
        self._images = Images(store, self._catalogue)

    def application(self, hosts: tuple[str, ...]) -> Starlette:
        routes = [
            Route("/", self._route(self._file)),
            Route("/page/{name}", self._route(self._file)),
            Route("/store", self._route(self._summary)),
            Route("/select", self._route(self._select)),
            Route("/rows", self._route(self._rows)),
            Route("/row/{row:int}", self._route(self._row)),
            Route("/places", self._route(self._places)),
            Route("/split-of-rows", self._route(self._split_of_rows)),
            Route("/coastline", self._route(self._coastline)),
            Route("/inside", self._route(self._inside)),
            Route("/thumbnail/{modality}/{row:int}", self._route(self._thumbnail)),
            Route("/pixels/{modality}/{row:int}", self._route(self._pixels)),
            Route("/export", self._route(self._export)),
        ]
        trusted = Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False)
        return Starlette(routes=routes, middleware=[trusted])

    def _route(self, answer: Callable[[Request], Response]) -> Callable[[Request], Any]:
        """An answer made in a thread, if the browser may have it; our errors are one sentence."""

        async def answered(request: Request) -> Response:
            refused = self._refused(request)
            if refused is not None:
                return refused
            try:
                response = await run_in_threadpool(answer, request)
            except PatchpressError as error:
                response = PlainTextResponse(str(error), 400)
            response.headers.update(HEADERS)
            return response

        return answered

    def _refused(self, request: Request) -> Response | None:
        if not self._token:
            return None
        shown = request.query_params.get("token", "")
        if request.url.path == "/" and hmac.compare_digest(shown.encode(), self._token.encode()):
            welcome = RedirectResponse(".", 303)
            welcome.set_cookie(COOKIE, self._token, httponly=True, samesite="strict")
            return welcome
        kept = request.cookies.get(COOKIE, "")
        if hmac.compare_digest(kept.encode(), self._token.encode()):
            return None
        return PlainTextResponse("open the address that `patchpress view` printed", 403)

    def _file(self, request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in FILES:
            return PlainTextResponse("no such file", 404)
        return Response((PAGE / name).read_bytes(), media_type=FILES[name])

    def _summary(self, request: Request) -> Response:
        return _json(summary(self._store, self._place, self._catalogue, self._images))

    def _asked(self, request: Request) -> Asked:
        return asked_of(request.query_params.get("f", ""))

    def _select(self, request: Request) -> Response:
        found = self._catalogue.select(self._asked(request))
        return _json({"count": len(found.rows), "counts": found.counts})

    def _rows(self, request: Request) -> Response:
        start = _number(request, "start", 0)
        count = min(_number(request, "count", 100), MOST_ROWS)
        found = self._catalogue.select(self._asked(request)).rows[start : start + count]
        return _json([self._brief(row) for row in found.tolist()])

    def _brief(self, row: int) -> dict[str, Any]:
        catalogue = self._catalogue
        return {
            "row": row,
            "name": catalogue.name(row),
            "has": [name for name in self._store.manifest.modalities if catalogue.has(name, row)],
            "values": {
                column: facet.values_of(row)
                for column, facet in catalogue.facets.items()
                if facet.kind in ("split", "labels", "flag")
            },
        }

    def _row(self, request: Request) -> Response:
        return _json(row_facts(self._store, self._catalogue, self._in_table(request)))

    def _in_table(self, request: Request) -> int:
        row: int = request.path_params["row"]
        if row >= self._catalogue.count:
            raise OptionError(f"there is no row {row:,}: the store has {self._catalogue.count:,}")
        return row

    def _places(self, request: Request) -> Response:
        """Longitude and latitude of all rows, float32, and NaN without a place."""
        places = self._catalogue.places
        return Response(
            b"" if places is None else places.astype("<f4").tobytes(),
            media_type="application/octet-stream",
        )

    def _split_of_rows(self, request: Request) -> Response:
        """One byte a row: the number of its split, 255 without one."""
        codes = self._catalogue.split_codes().astype(np.uint8)  # -1 becomes 255
        return Response(codes.tobytes(), media_type="application/octet-stream")

    def _coastline(self, request: Request) -> Response:
        """Rings as longitude, latitude, longitude, latitude, … in degrees."""
        return _json([np.round(ring, 2).ravel().tolist() for ring in coastlines()])

    def _inside(self, request: Request) -> Response:
        """One bit a row, the lowest first: whether it is selected."""
        mask = np.zeros(self._catalogue.count, bool)
        mask[self._catalogue.select(self._asked(request)).rows] = True
        bits = np.packbits(mask, bitorder="little")
        return Response(bits.tobytes(), media_type="application/octet-stream")

    def _thumbnail(self, request: Request) -> Response:
        channels = tuple(request.query_params.getlist("channel"))
        own = request.query_params.get("stretch") == "own"
        modality = request.path_params["modality"]
        made = self._images.thumbnail(modality, self._in_table(request), channels, own)
        # The address names the store's digest, so the picture behind it never changes.
        return Response(made, media_type="image/png", headers={"Cache-Control": "max-age=86400"})

    def _pixels(self, request: Request) -> Response:
        """All bands, little-endian, band after band; their form is in the headers."""
        modality = request.path_params["modality"]
        array = self._images.pixels(modality, self._in_table(request))
        return Response(
            np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes(),
            media_type="application/octet-stream",
            headers={
                "X-Shape": ",".join(map(str, array.shape)),
                "X-Dtype": array.dtype.name,
            },
        )

    def _export(self, request: Request) -> Response:
        asked, kind = self._asked(request), request.query_params.get("as", "keys")
        made = exported(self._catalogue, asked, self._catalogue.select(asked), kind)
        name = {"keys": "keys.txt", "where": "where.txt", "parquet": "selection.parquet"}[kind]
        return Response(
            made,
            media_type=KINDS[kind],
            headers={"Content-Disposition": f'attachment; filename="{name}"'},
        )


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdecimal():
        raise OptionError(f"{name} is a whole number, not {text!r}")
    return int(text)


def _json(found: Mapping[str, Any] | list[Any]) -> Response:
    text = json.dumps(found, ensure_ascii=False, default=str, separators=(",", ":"))
    return Response(text.encode("utf-8", "backslashreplace"), media_type="application/json")
