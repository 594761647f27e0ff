import sys
from pathlib import Path

import pytest

from patchpress import open_store
from patchpress.readers.errors import OptionError
from patchpress.readers.remote.url import checked_url, is_url, shown_url, without_user


@pytest.mark.parametrize(
    "url", ["s3://bucket/a", "gs://bucket", "https://host/a", "S3://b", "x+y://z"]
)
def test_a_url_is_told_from_a_path(url: str) -> None:
    assert is_url(url)


@pytest.mark.parametrize(
    "path", ["ben.store", "/data/ben.store", "a:b", "C:/data", "~/x", Path("s3:a")]
)
def test_a_path_is_no_url(path: str | Path) -> None:
    assert not is_url(path)


@pytest.mark.parametrize("url", ["s3://bucket/a", "https://host/a"])
def test_a_url_in_a_path_is_said(url: str) -> None:
    with pytest.raises(OptionError, match="is a URL in a Path: give it as text"):
        open_store(Path(url))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host/a", "ftp://host/a is of no kind that is known: there are s3://"),
        ("memory:///", "is of no kind that is known"),
        ("file:///data/ben.store", "is of this machine: give the path itself"),
        ("s3://", "names no bucket: write s3://BUCKET/FOLDER"),
        ("https:///a", "names no host: write https://HOST/FOLDER"),
        ("s3://bucket/a?x=1", "has more behind its path"),
        ("https://[a/b", "is no URL"),
    ],
)
def test_a_url_that_cannot_be_used_ends_in_a_sentence(url: str, said: str) -> None:
    with pytest.raises(OptionError) as error:
        open_store(url)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:word@host:8/a/b", "https://***@host:8/a/b"),
        ("https://host/a?sig=abc%3D&se=2", "https://host/a?sig=***&se=***"),
        ("https://host/a?token", "https://host/a?***"),
        ("https://host/a#part", "https://host/a"),
        ("s3://bucket/a", "s3://bucket/a"),
        ("s3://id:word@bucket/a", "s3://***@bucket/a"),
        (
            "abfss://files@account.dfs.core.windows.net/a",
            "abfss://files@account.dfs.core.windows.net/a",
        ),
    ],
)
def test_what_is_secret_in_a_url_is_not_shown(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_names_of_schemes_are_understood() -> None:
    assert checked_url("s3a://bucket/a//") == "s3://bucket/a"
    assert checked_url("gcs://bucket/") == "gs://bucket"


def test_user_and_password_go_into_a_header() -> None:
    assert without_user("https://host/a") == ("https://host/a", {})
    url, headers = without_user("https://me:pa%20ss@host/a?b=c")
    assert (url, headers) == ("https://host/a?b=c", {"authorization": "Basic bWU6cGEgc3M="})


def test_options_of_a_url_are_refused_for_a_path(stacked: Path) -> None:
    with pytest.raises(OptionError, match="storage_options are for a store at a URL"):
        open_store(stacked, storage_options={"region": "x"})


def test_the_extra_that_lacks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(OptionError) as error:
        open_store("s3://bucket/a")
    assert str(error.value) == (
        "stores at a URL need obstore, which is not installed: pip install obstore"
    )
