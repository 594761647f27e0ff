"""The statistics beside a store against its manifest."""

from patchpress.readers.errors import StatisticsMissing, StatisticsStale
from patchpress.readers.statistics_file import read_file
from patchpress.readers.store import Store


def statistics_problems(store: Store) -> list[str]:
    """A sentence if there are statistics that nobody may use; their numbers are not counted anew.

    Raises:
        StoreDamaged: the file is damaged.
    """
    try:
        read_file(store.path, store.manifest, f"patchpress stats {store.path}")
    except StatisticsMissing:
        return []
    except StatisticsStale as error:
        return [str(error)]
    return []
