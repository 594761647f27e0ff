"""Label columns that follow from another one with the share of each class.

pyarrow is imported inside functions: it starts threads, and workers must fork before.
"""

import logging
from typing import TYPE_CHECKING

import numpy as np

from patchpress.converter.descriptions.description import Description, LabelRule
from patchpress.converter.descriptions.labels_from_codes import MULTI_THRESHOLD
from patchpress.converter.tables.arrow import fill_column, one_array
from patchpress.converter.tables.one_type import as_type

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)


def with_labels_of_shares(description: Description, rows: "pa.Table") -> "pa.Table":
    """The rows with the label columns that follow from shares, by the rule of each.

    ``present`` is every class with a share above 0, ``multi`` each with a tenth or more, ``single``
    the one with the largest share, of equal ones the first. A row without shares has no label.
    """
    for rule in description.labels.values():
        if not rule.rule or rule.rule == "mapped" or not description.follows(rule):
            continue
        if rule.source not in rows.column_names:
            continue
        _log.info("labels: %s follows from the shares in %s", rule.column, rule.source)
        labels = _labels(rule, rows[rule.source])
        if rule.column in rows.column_names:  # what a table gives comes first
            labels = as_type(labels, rows.schema.field(rule.column).type)
        rows = fill_column(rows, rule.column, labels)
    return rows


def _labels(rule: LabelRule, shares: "pa.ChunkedArray") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    cells = one_array(shares)
    there = pc.fill_null(pc.greater(pc.list_value_length(cells), 0), False)
    there = np.asarray(there.to_numpy(zero_copy_only=False), bool)
    flat = pc.list_flatten(cells).to_numpy(zero_copy_only=False)
    values = flat.reshape(-1, len(rule.classes))
    found: list[object] = [None] * len(cells)
    names = np.array(rule.classes, object)
    least = MULTI_THRESHOLD if rule.rule == "multi" else np.finfo(float).tiny
    for row, own in zip(np.flatnonzero(there), values, strict=True):
        if rule.rule == "single":
            found[row] = names[own.argmax()] if own.max() > 0 else None
        else:
            found[row] = list(names[own >= least])
    return pa.array(found, pa.string() if rule.rule == "single" else pa.list_(pa.string()))
