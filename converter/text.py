"""Numbers, sizes, times and names as people read them; tables as aligned text."""

from collections.abc import Iterable, Mapping, Sequence

from patchpress.readers.showing import plain


def size(nbytes: float) -> str:
    """Bytes for people, in decimal units: a GB has 10^9 bytes, a MB 10^6."""
    for unit, least in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if nbytes >= 0.99995 * least:  # 999.96 MB are 1.0 GB
            return f"{nbytes / least:,.1f} {unit}"
    return f"{nbytes / 1e3:,.1f} kB"


def number(count: float, *, about: bool) -> str:
    """A count for people; three digits of an estimated one."""
    if not about:
        return f"{count:,.0f}"
    return f"about {float(f'{count:.3g}'):,.0f}"


def span(seconds: float) -> str:
    """A time for people, as exact as an estimate is."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 100:
        return f"{5 * round(seconds / 5)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"


def clock(seconds: float) -> str:
    """A time as clocks show it: ``0:48``, ``1:02:38``."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def split_rows(rows: int, flagged: int) -> str:
    """How many rows of a split are recommended by the publisher, and how many are flagged."""
    return f"{rows - flagged:,}" + (f", and {flagged:,} flagged" if flagged else "")


def limit_text(limit: int, *, is_spread: bool) -> str:
    """What a limit took."""
    if is_spread:
        return f"at most {several(limit, 'patch', 'patches')}, spread over the source"
    return f"the first {several(limit, 'patch', 'patches')}: only the beginning of archives is read"


def several(count: int, what: str, plural: str = "") -> str:
    """A count of things: ``1 problem``, ``2 problems``."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {plural or what + 's'}"


def first_few(names: Sequence[str], most: int = 3) -> str:
    """The first few names in one line, and whether there are more."""
    shown = ", ".join(plain(name) for name in names[:most])
    return f"{shown}, …" if len(names) > most else shown


def line(title: str, text: str, width: int = 18) -> str:
    """A line of a report: its title, padded to a width, and what it says."""
    return f"  {title:<{width}} {plain(text)}"


NAMES_PRINTED = 5  # of each list in the printed report; the file has them all


def as_text(lines: Iterable[str]) -> str:
    """Lines of a report as one text: whatever a name holds, it ends no line."""
    return "\n".join(plain(line) for line in lines)


def named(title: str, names: list[str], file: str = "") -> list[str]:
    """Lines with the first few of some names; none if there are none. `file` has them all."""
    if not names:
        return []
    rest = f"    … and {len(names) - NAMES_PRINTED:,} more" + (f", in {file}" if file else "")
    more = [rest] if len(names) > NAMES_PRINTED else []
    return [
        f"  {title}: {len(names):,}",
        *(f"    {plain(name)}" for name in names[:NAMES_PRINTED]),
        *more,
    ]


def not_taken(left_out: Mapping[str, int], passed_by: int, absent: Sequence[str]) -> list[str]:
    """Lines about the rows that a choice means and does not take.

    Args:
        left_out: reason -> rows.
        passed_by: rows that are asked for by name, and that the rest of the choice leaves out.
        absent: names that the store does not have.
    """
    lines = [f"  rows left out, {reason}: {count:,}" for reason, count in left_out.items()]
    if passed_by:
        lines.append(f"  names of patches that the rest of the choice leaves out: {passed_by:,}")
    return lines + named("names that the store does not have", list(absent))


def shortened(value: object, most: int = 80) -> str:
    """A value as Python writes it, cut if it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[: most - 1]}…"


def number_ranges(numbers: Sequence[int]) -> str:
    """Ascending numbers as SLURM takes them for an array: ``3,7-9``."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][-1] + 1:
            found[-1][1:] = [number]
        else:
            found.append([number])
    return ",".join("-".join(map(str, ends)) for ends in found)
