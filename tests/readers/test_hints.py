"""What an error says of an unknown name."""

from patchpress.readers.hints import NAMES_LISTED, hint, nearest


def test_the_nearest_names_come_first() -> None:
    assert hint("trian", ["train", "test"]) == "nearest is 'train'"
    assert hint("trian", ["train", "train2"], most=2) == "nearest are 'train', 'train2'"


def test_without_a_near_name_all_are_listed() -> None:
    assert hint("zzz", ["train", "test"]) == "there are train, test"
    assert hint(3, ["train"]) == "there are train"
    assert hint("zzz", []) == "there are none"


def test_spellings_are_compared_and_names_shown() -> None:
    names = {"ponds": "Pond", "pond": "Pond", "reed": "Reed"}
    assert hint("pondz", names, most=3, shown_as=names) == "nearest is 'Pond'"
    assert hint("zzz", names, shown_as=names) == "there are Pond, Reed"


def test_of_very_many_names_the_first_are_listed_and_all_counted() -> None:
    names = [f"patch{number:04}" for number in range(2 * NAMES_LISTED)]
    found = hint("zzz", names)
    assert found.count(",") == NAMES_LISTED
    assert found.endswith(f"({2 * NAMES_LISTED} in all)")


def test_of_names_that_are_too_many_only_the_nearest_are_named() -> None:
    assert nearest("trian", ["train", "test"]) == "nearest is 'train'"
    assert nearest("trian", ["train", "train2"], most=2) == "nearest are 'train', 'train2'"
    assert nearest("zzz", ["train", "test"]) == ""
    assert nearest(3, ["train"]) == ""
