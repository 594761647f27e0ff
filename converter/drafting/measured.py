"""Channels with what some of their files say: which of them are stacked, how far they lie apart."""

from collections.abc import Sequence

from patchpress.converter.drafting.channels import Channel
from patchpress.converter.drafting.facts import Facts, NoImage, facts_of

SAMPLES = 6  # files of a channel that are opened


class Measured:
    """A channel, and what its files say."""

    def __init__(self, channel: Channel, unread: list[str]) -> None:
        """Open some of its files; those that cannot be read are told in `unread`."""
        self.channel = channel
        step = max(1, len(channel.files) // SAMPLES)
        self.files = channel.files[::step][:SAMPLES]
        all_facts: list[Facts] = []
        for file in self.files:
            try:
                all_facts.append(facts_of(file))
            except NoImage as problem:
                unread.append(f"{file} {problem}")
        self.first = all_facts[0] if all_facts else None
        shapes = [facts.shape for facts in all_facts]
        usual = (
            max(set(shapes), key=lambda shape: (shapes.count(shape), shape)) if shapes else (0, 0)
        )
        self.facts = next((facts for facts in all_facts if facts.shape == usual), None)
        kinds = {(facts.bands, facts.dtype) for facts in all_facts}
        self.shapes = sorted(set(shapes))
        self.other_kinds = (
            sorted(kinds - {(self.facts.bands, self.facts.dtype)}) if self.facts else []
        )

    @property
    def said(self) -> Facts:
        """What a usual file of it says.

        Raises:
            ValueError: no file of it could be read.
        """
        if self.facts is None:
            raise ValueError("no file was read")
        return self.facts


def alike(some: Sequence[Measured]) -> tuple[list[Measured], list[Measured]]:
    """Those that are stacked with the largest of them, and the others."""
    largest = max(some, key=lambda one: one.said.shape)
    height, width = largest.said.shape
    together = [
        one
        for one in some
        if one.said.dtype == largest.said.dtype
        and one.channel.ending == largest.channel.ending
        and one.channel.has_name == largest.channel.has_name
        and height % one.said.height == width % one.said.width == 0
    ]
    return together, [one for one in some if one not in together]


def shift_of(some: Sequence[Measured]) -> float:
    """How far the grounds of the files of one patch lie apart, in pixels of the coarsest."""
    first = [one.first for one in some if one.first is not None and one.first.bounds]
    if len(first) < 2:
        return 0.0
    corners = list(zip(*(facts.bounds for facts in first), strict=True))
    pixel = max((facts.bounds[3] - facts.bounds[1]) / facts.height for facts in first)
    return max(max(values) - min(values) for values in corners) / pixel if pixel > 0 else 0.0
