"""The ``[labels.COLUMN]`` tables of a description to `LabelRule`, with all checks."""

from patchpress.converter.descriptions.classes import load_class_list
from patchpress.converter.descriptions.description import LabelRule, ModalitySource
from patchpress.converter.descriptions.label_cells import NUMBER, SHARES, parse_label_cells
from patchpress.converter.descriptions.strict import Section
from patchpress.readers.errors import PatchpressError

MAP_RULES = ("present", "single", "multi", "fractions")
"""Rules for labels that follow from the codes of a map."""
SHARE_RULES = ("present", "single", "multi")
"""Rules for labels that follow from a label column of shares."""
RULES = ("mapped", *MAP_RULES)


def parse_labels(section: Section, modalities: dict[str, ModalitySource]) -> dict[str, LabelRule]:
    """All label columns of a description, in their order.

    Raises:
        DescriptionError: a wrong key.
    """
    rules: dict[str, LabelRule] = {}
    for column, part in section.sections().items():
        class_list = part.take("class_list", str, "")
        classes = _classes(part, class_list)
        rule = LabelRule(
            column=column,
            classes=classes,
            class_list=class_list,
            cells=parse_label_cells(part, classes),
            rule=part.take("rule", str, ""),
            source=part.take("from", str, ""),
            map=part.take("map", str, ""),
            default=part.take("default", bool, default=False),
        )
        part.end()
        _check_label_rule(rule, part, modalities, rules)
        rules[column] = rule
    return rules


def _classes(section: Section, class_list: str) -> tuple[str, ...]:
    """The classes of a label column; a column of numbers has none."""
    if section.peek("kind") == NUMBER:
        if class_list or section.peek("classes") is not None:
            raise section.error("classes", "are not of a column of numbers: leave them out")
        return ()
    return _class_names(section, class_list) if class_list else section.strings("classes")


def _class_names(section: Section, class_list: str) -> tuple[str, ...]:
    try:
        return load_class_list(class_list).names
    except PatchpressError as error:
        raise section.error("class_list", f"is unknown ({error})") from None


def _check_label_rule(
    rule: LabelRule,
    section: Section,
    modalities: dict[str, ModalitySource],
    above: dict[str, LabelRule],
) -> None:
    """Refuse a rule without what it needs; `above` are the label columns that come before it."""
    source = rule.source
    if rule.rule and rule.rule not in RULES:
        raise section.error("rule", f"must be one of {', '.join(RULES)}, not {rule.rule!r}")
    if bool(rule.rule) != bool(source):
        raise section.error("from", "and rule belong together")
    of_shares = source not in modalities and source in above
    if of_shares and rule.rule != "mapped":
        _check_of_shares(rule, section, above[source])
    elif rule.rule in MAP_RULES:
        if source not in modalities or modalities[source].interpolated:
            raise section.error("from", f"must name a modality of kind classes, not {source!r}")
        if modalities[source].time:
            problem = f"must name a modality of one date, and {source} has [time]"
            raise section.error("from", problem)
        if modalities[source].any_size:
            problem = f"must name a modality of one size, and {source} has any_size"
            raise section.error("from", problem)
    if rule.map:
        _check_map(rule, section, modalities)
    if rule.rule == "mapped" and source not in above:
        raise section.error("from", f"must name a label column above, not {source!r}")
    if rule.default and any(other.default for other in above.values()):
        raise section.error("default", "is true for two label columns: one is learned by default")
    if rule.rule and not rule.class_list and (not of_shares or rule.rule == "mapped"):
        raise section.error("class_list", "is missing: the rule needs its codes")
    if (rule.rule == "mapped" or of_shares) and rule.cells.is_told:
        raise section.error("rule", "makes the labels: leave out how a table would write them")


def _check_map(rule: LabelRule, section: Section, modalities: dict[str, ModalitySource]) -> None:
    """Refuse a map without codes that a class list tells, or beside a rule that names it, too."""
    if rule.map not in modalities or modalities[rule.map].interpolated:
        raise section.error("map", f"must name a modality of kind classes, not {rule.map!r}")
    if rule.source in modalities:
        raise section.error("map", f"is known from the rule: {rule.source}; leave it out")
    if not rule.class_list:
        raise section.error("class_list", "is missing: the codes of a map need one")


def _check_of_shares(rule: LabelRule, section: Section, shares: LabelRule) -> None:
    """Refuse a rule that does not follow from the shares in another label column."""
    if rule.rule not in SHARE_RULES:
        raise section.error(
            "rule", f"of the label column {rule.source} must be one of {', '.join(SHARE_RULES)}"
        )
    if shares.cells.kind != SHARES:
        raise section.error("from", f"must name a label column of kind shares, not {rule.source!r}")
    if rule.classes != shares.classes:
        raise section.error("classes", f"must be those of {rule.source}, in the same order")
