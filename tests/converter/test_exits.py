"""The command's manners: its help, version, completion, log, streams, paths and exit codes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

import patchpress as package
from patchpress import open_store, verify
from patchpress.converter.cli import app
from tests.support.helpers import DATASET, Ended, command, python, tiny_dataset
from tests.support.synthetic import FLAGGED_TABLE, TABLE

pytestmark = pytest.mark.slow

Command = Callable[..., Ended]


def plain(text: str) -> str:
    """A text without the ends of its lines, which depend on the width of the terminal."""
    return " ".join(text.split())


def summaries() -> dict[str, str]:
    """Command -> the first sentence of its docstring."""
    found = {}
    for info in app.registered_commands:
        assert info.callback is not None
        found[info.name or info.callback.__name__] = info.callback.__doc__ or ""
    return found


def test_the_command_alone_is_its_help(patchpress: Command) -> None:
    alone = patchpress()
    assert (alone.code, alone.err) == (0, "")
    assert alone.out == patchpress("--help").out
    assert all(name in alone.out for name in summaries())


def test_the_list_of_commands_has_whole_sentences(patchpress: Command) -> None:
    listed = plain(patchpress("--help").out)
    assert len(summaries()) >= 9
    for name, sentence in summaries().items():
        assert f"{name} {sentence}" in listed
    assert "..." not in listed.partition("Commands:")[2]


@pytest.mark.parametrize("name", summaries())
def test_help_is_sentences_that_fit_a_terminal(
    patchpress: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = patchpress(name, "--help").out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(text[0].isupper() and text.endswith(".") for text in helps(name))


def helps(name: str) -> list[str]:
    """The help of each argument and option of a command."""
    group: Any = get_command(app)
    return [parameter.help for parameter in group.commands[name].params]


def test_the_version_is_that_of_the_package(patchpress: Command) -> None:
    assert patchpress("--version") == (0, f"patchpress {package.__version__}\n", "")


def test_a_module_of_python_is_the_same_command() -> None:
    ended = command("verify", "--help")
    assert ended.out.startswith("Usage: patchpress verify ")


def completed(*words: str) -> list[str]:
    """What bash would offer for the last word."""
    variables = {"COMP_WORDS": " ".join(["patchpress", *words]), "COMP_CWORD": str(len(words))}
    environment = {**os.environ, "_PATCHPRESS_COMPLETE": "complete_bash", **variables}
    ended = command(env=environment)
    assert (ended.code, ended.err) == (0, "")
    return ended.out.split()


def test_shells_complete_commands_data_sets_and_choices() -> None:
    assert completed("ver") == ["verify"]
    assert completed("convert", "bigearth") == ["bigearthnet-v1", "bigearthnet-v2"]
    assert completed("convert", "a", "b", "c", "--layout", "") == ["stacked", "native"]
    assert "--on-error" in completed("convert", "a", "b", "c", "--on")


def test_completion_is_shown_to_be_installed() -> None:
    environment = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    ended = command("--show-completion", "bash", env=environment)
    assert (ended.code, ended.err) == (0, "")
    assert "_PATCHPRESS_COMPLETE=complete_bash" in ended.out
    assert "--install-completion" in command("--help").out


# Words, how the sentence begins or what it has, and whose help is named.
WRONG: dict[str, tuple[list[str], str, str]] = {
    "no number": (
        ["convert", DATASET, "a", "b", "--workers", "many"],
        "Invalid value for '--workers': 'many' is not a whole number", "convert"),
    "no decimal number": (
        ["bench", "a", "--seconds", "soon"],
        "Invalid value for '--seconds': 'soon' is not a number", "bench"),
    "unknown choice": (
        ["convert", DATASET, "a", "b", "--layout", "rund"],
        "Invalid value for '--layout': 'rund' is unknown, there are stacked, native", "convert"),
    "nearly a choice": (
        ["stats", "a", "--flagged", "includ"],
        "Invalid value for '--flagged': 'includ' is unknown, nearest is 'include'", "stats"),
    "option without value": (
        ["verify", "a", "--workers"], "Option '--workers' requires an argument", "verify"),
    "unknown option": (["inspect", "a", "--colour"], "No such option: --colour", "inspect"),
    "no argument": (["convert", DATASET, "a"], "Missing argument 'STORE'", "convert"),
    "too much": (["inspect", "a", "b", "more"], "more", "inspect"),
    "no command": (["transmogrify"], "No such command 'transmogrify'", ""),
    "option of none": (["--colour"], "No such option: --colour", ""),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_word_is_named_with_the_help_of_its_command(
    patchpress: Command, wrong: str
) -> None:
    words, said, name = WRONG[wrong]
    ended = patchpress(*words)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.sentence
    assert ended.sentence.endswith(f"(see `{' '.join(['patchpress', name]).strip()} --help`)")


def test_ctrl_c_while_nothing_is_kept_says_so(tmp_path: Path) -> None:
    """A pipe in the place of a description: it is read until somebody writes to it."""
    os.mkfifo(tmp_path / "mine.toml")
    description = str(tmp_path / "mine.toml")
    words = [sys.executable, "-m", "patchpress", "index", str(tmp_path), "--dataset", description]
    (tmp_path / "data.mdb").write_bytes(b"")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    with (tmp_path / "mine.toml").open("w"):  # it is there, and reads
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == (
        "patchpress: interrupted: run the same command again, it starts from the beginning\n"
    )


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_terminal_can_print_a_report(raw: Path, tmp_path: Path, encoding: str) -> None:
    """More patches are left out than are shown, and the store's name has letters that few have."""
    for path in raw.rglob("*_B03.tif"):
        path.unlink()
    for path in raw.rglob("*_VV.tif"):
        path.unlink()
    store = tmp_path / "Größe Ω.store"
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    words = ("convert", DATASET, raw, store, "--on-error", "skip", "--workers", 0)
    done = subprocess.run(
        [sys.executable, "-m", "patchpress", *map(str, words)], capture_output=True, env=environment
    )
    assert (done.returncode, done.stderr) == (1, b"")
    out = done.stdout.decode(encoding)
    dots = "…" if encoding == "utf-8" else "..."
    assert f"{dots} and 5 more" in out
    named = {
        "ascii": r"Gr\xf6\xdfe \u03a9.store",
        "latin-1": r"Größe \u03a9.store",
        "utf-8": "Größe Ω.store",
    }
    assert named[encoding] in out


def test_any_terminal_can_print_an_error(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = command("verify", tmp_path / "Größe", env=environment)
    assert ended.code == 1
    assert r"Gr\xf6\xdfe" in ended.sentence


def test_a_locale_without_letters_is_no_crash(tmp_path: Path) -> None:
    environment = {name: os.environ[name] for name in os.environ if not name.startswith("LC_")}
    environment |= {"LANG": "C", "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "patchpress", "inspect", str(tmp_path / "Größe")],
        capture_output=True, env=environment,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"there is no store" in done.stderr


@pytest.fixture
def full() -> Path:
    """A file that takes no byte."""
    path = Path("/dev/full")
    if not path.exists():
        pytest.skip("this system has no device that is always full")
    return path


@pytest.mark.parametrize(
    "words",
    [("datasets",), (), ("--version",), ("--help",), ("convert", "--help"),
     ("--show-completion", "bash")],
)  # fmt: skip
def test_output_that_cannot_be_written_is_one_sentence(full: Path, words: tuple[str, ...]) -> None:
    with full.open("w") as stdout:
        done = subprocess.run(
            [sys.executable, "-m", "patchpress", *words],
            stdout=stdout, stderr=subprocess.PIPE, text=True,
            # Which shell is looked for among the parents, and CI has none.
            env=os.environ | {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert Ended(2, "", done.stderr).sentence.startswith("the output cannot be written")


def test_a_conversion_goes_on_if_nobody_can_hear_what_it_says(
    full: Path, raw: Path, tmp_path: Path
) -> None:
    """A log on a full disk is no reason to stop."""
    run = [sys.executable, "-m", "patchpress"]
    for number, words in enumerate((["-vv"], [])):
        store = tmp_path / f"store{number}"
        arguments = ["convert", DATASET, str(raw), str(store), "--workers", "0", *words]
        with full.open("w") as stderr:
            done = subprocess.run([*run, *arguments], stdout=subprocess.PIPE, stderr=stderr)
        assert done.returncode == 0
        assert b"5 s2, 5 s1, 5 map" in done.stdout
        assert verify(store).good
    with full.open("w") as stderr:
        assert subprocess.call([*run, "nonsense"], stderr=stderr) == 2


def test_nothing_is_said_on_stdout_if_stderr_is_closed() -> None:
    words = f"{sys.executable} -m patchpress nonsense 2>&-"
    done = subprocess.run(["sh", "-c", words], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")


def test_a_command_without_stdout_ends_as_it_would() -> None:
    ended = python("-c", "import subprocess, sys; sys.exit(subprocess.call(["
                   "sys.executable, '-m', 'patchpress', '--version'], preexec_fn=lambda: "
                   "__import__('os').close(1)))")  # fmt: skip
    assert (ended.code, ended.err) == (0, "")


@pytest.mark.slow
def test_a_tilde_is_the_users_home_everywhere(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patchpress: Command
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (raw / TABLE).rename(tmp_path / "rows.parquet")
    (raw / FLAGGED_TABLE).unlink()
    words = ("--path", "metadata=~/rows.parquet", "--workers", 0)
    ended = patchpress("convert", DATASET, "~/raw", "~/ben.store", *words)
    assert (ended.code, ended.err) == (0, "")
    labels = open_store(tmp_path / "ben.store").table()["labels"]
    assert labels.null_count < len(labels)
    calls: list[tuple[object, ...]] = [
        ("verify", "~/ben.store", "--against", "~/raw", "--workers", 0),
        ("inspect", "~/ben.store"),
        ("index", "~/ben.store"),
        ("stats", "~/ben.store", "--workers", 0, "--out", "~/numbers.json"),
        ("datasets", "--guess", "~/raw"),
        ("split-table", "~/rows.parquet", "--out", "~/new.parquet"),
        ("bench", "~/ben.store", "--seconds", 0.001, "--batch", 2, "--out", "~/bench.json"),
    ]
    for call in calls:
        ended = patchpress(*call)
        assert ended.code == 0, ended.err
    for name in ("numbers.json", "new.parquet", "bench.json"):
        assert (tmp_path / name).is_file(), name
    assert verify("~/ben.store", "~/raw", workers=0).good


def test_a_tilde_is_the_users_home_for_a_description(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patchpress: Command
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    tiny_dataset(tmp_path, {"g": ["p1", "p2"]})
    ended = patchpress("convert", "~/tiny.toml", "~/raw", "~/a", "--workers", 0)
    assert (ended.code, ended.err) == (0, "")
    words = ("--against", "~/raw", "--dataset", "~/tiny.toml", "--workers", 0)
    assert patchpress("verify", "~/a", *words).code == 0


@pytest.mark.parametrize("before", [True, False])
def test_decisions_are_shown_if_asked_for(raw: Path, tmp_path: Path, before: bool) -> None:
    words = ["convert", DATASET, raw, tmp_path / "store", "--workers", 1]
    ended = command("-v", *words) if before else command(*words, "--verbose")
    assert ended.code == 0
    lines = ended.err.splitlines()
    assert all(line.startswith("patchpress.") for line in lines)
    assert any("processes for decoding: 1, forked" in line for line in lines)


def test_nothing_is_shown_if_not_asked_for(raw: Path, tmp_path: Path) -> None:
    ended = command("convert", DATASET, raw, tmp_path / "store", "--workers", 1)
    assert (ended.code, ended.err) == (0, "")


def test_ctrl_c_after_the_command_is_done_ends_without_a_trace() -> None:
    late = "atexit.register(os.kill, os.getpid(), signal.SIGINT)"
    begin = f"import atexit, os, signal, sys\n{late}\nsys.argv[1:] = WORDS\n"
    end = "from patchpress.converter.cli import main\nmain()"
    for words in (["--version"], ["inspect", "nowhere"]):
        ended = python("-c", begin.replace("WORDS", repr(words)) + end)
        assert ended.code == -signal.SIGINT
        assert "Traceback" not in ended.err
        assert len((ended.out + ended.err).splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "after"),
    [
        (["", "verify"], ""),
        (["verify", ""], " after verify"),
        (["split", "store", "out", "--shards", ""], " after --shards"),
    ],
)
def test_an_empty_word_is_no_path_of_this_folder(
    tmp_path: Path, words: list[str], after: str
) -> None:
    ended = command(*words, cwd=tmp_path)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"patchpress: a word of the command is empty{after}: is the")
