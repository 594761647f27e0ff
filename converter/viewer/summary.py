"""What the page must know of a store before it shows a patch."""

import hashlib
import math
from typing import Any

from patchpress.converter.pictures.class_colours import OTHERS
from patchpress.converter.viewer.catalogue import Catalogue
from patchpress.converter.viewer.images import Images
from patchpress.readers.format.modality import Modality
from patchpress.readers.showing import plain
from patchpress.readers.store import Store


def summary(store: Store, place: str, catalogue: Catalogue, images: Images) -> dict[str, Any]:
    """Title, modalities with bands and stretch, facets with their values, orders, map classes."""
    manifest = store.manifest
    return {
        "place": plain(place),
        "title": manifest.dataset.title,
        "licence": manifest.dataset.licence,
        "rows": catalogue.count,
        "digest": _digest(store),
        "identity": catalogue.identity,
        "modalities": [
            _modality(modality, catalogue, images) for modality in manifest.modalities.values()
        ],
        "facets": [
            {"column": facet.column, "kind": facet.kind, "values": list(facet.values)}
            for facet in catalogue.facets.values()
        ],
        "orders": catalogue.orders,
        "has_places": catalogue.places is not None,
    }


def _digest(store: Store) -> str:
    """Changes with any pixel or row, so that a browser keeps no picture of another store."""
    parts = [store.manifest.metadata_digest, *(shard.digest for shard in store.manifest.shards)]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:16]


def _modality(modality: Modality, catalogue: Catalogue, images: Images) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": modality.name,
        "title": modality.title + (", first date" if modality.steps else ""),
        "kind": modality.kind,
        "records": len(catalogue.with_record(modality.name)),
        "bands": [{"name": band.name, "gsd": band.gsd} for band in modality.bands],
        "channels": images.channels(modality),
        "radar": images.radar(modality),
        "preset": images.preset(modality),
        "ranges": {},
        "classes": None,
    }
    if modality.name in images.classes:
        classes = images.classes[modality.name]
        found["classes"] = {
            "title": classes.title,
            "names": {str(code): name for code, name in classes.names.items()},
            "colours": {str(code): classes.colour_of(code) for code in classes.names},
            "others": OTHERS,
        }
    elif found["records"]:
        for channel in found["channels"]:
            low, high = images.range_of(modality, channel)
            found["ranges"][channel] = [low, high] if math.isfinite(low) else [0.0, 1.0]
    return found
