"""Errors cross process boundaries whole, and are the builtins that a caller may expect."""

import copy
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest

import patchpress
from patchpress.readers import errors
from patchpress.readers.errors import OptionError, PatchpressError

# Sorted by what they are besides: the tree of the module's docstring, flat.
BUILTINS: dict[str, type[Exception]] = {
    "PatchpressError": Exception,
    "StoreError": Exception,
    "StoreMissing": FileNotFoundError,
    "StoreUnfinished": RuntimeError,
    "StoreDamaged": ValueError,
    "StoreUnreadable": OSError,
    "FormatUnknown": ValueError,
    "KeyMissing": KeyError,
    "BandMissing": KeyError,
    "SelectionEmpty": LookupError,
    "StatisticsMissing": LookupError,
    "StatisticsStale": ValueError,
    "GridsDiffer": ValueError,
    "ViewImpossible": ValueError,
    "BufferUnfit": ValueError,
    "OptionError": ValueError,
    "DescriptionError": ValueError,
    "SourceError": ValueError,
    "SourceMissing": FileNotFoundError,
    "PatchError": ValueError,
    "TableError": ValueError,
    "TargetError": OSError,
    "ClusterError": RuntimeError,
}
CLASSES = {
    name: value
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, PatchpressError)
}
MESSAGE = """no record 'S2A_…_26_57' in "my store": 100 % of {it} is gone \\ away"""

every = pytest.mark.parametrize("name", CLASSES)


def fail_with(name: str) -> None:
    raise CLASSES[name](MESSAGE)


def test_every_class_is_checked_here() -> None:
    assert set(CLASSES) == set(BUILTINS)


@every
def test_an_error_is_its_builtin(name: str) -> None:
    with pytest.raises(BUILTINS[name]):
        fail_with(name)


@every
def test_the_text_of_an_error_is_its_message(name: str) -> None:
    error = CLASSES[name](MESSAGE)
    assert str(error) == f"{error}" == MESSAGE
    assert error.args == (MESSAGE,)


@every
def test_an_error_without_message_has_an_empty_text(name: str) -> None:
    assert str(CLASSES[name]()) == ""


@every
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_error_pickles(name: str, protocol: int) -> None:
    error = CLASSES[name](MESSAGE)
    back = pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - our own bytes
    assert type(back) is CLASSES[name]
    assert str(back) == MESSAGE
    assert back.args == error.args


@every
def test_an_error_copies(name: str) -> None:
    back = copy.deepcopy(CLASSES[name](MESSAGE))
    assert type(back) is CLASSES[name]
    assert str(back) == MESSAGE


@every
def test_the_docstring_draws_the_class(name: str) -> None:
    assert errors.__doc__ is not None
    assert name in errors.__doc__.split()


def test_an_error_leaves_a_worker_as_it_was_raised() -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        for name in CLASSES:
            with pytest.raises(CLASSES[name]) as error:
                pool.submit(fail_with, name).result()
            assert type(error.value) is CLASSES[name]
            assert str(error.value) == MESSAGE


def test_a_zero_byte_is_no_path() -> None:
    with pytest.raises(OptionError, match="has a zero byte"):
        patchpress.open_store("a\0b")
    with pytest.raises(OptionError, match="has a zero byte"):
        patchpress.convert("bigearthnet-v2", "a\0b", "store")
