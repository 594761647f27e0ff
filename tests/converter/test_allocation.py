"""Large blocks that are freed go back to the system meanwhile, and only meanwhile."""

import platform

import pytest

from tests.support.helpers import python

PROGRAM = """
from pathlib import Path
from patchpress.converter import allocation

def given_back():
    def taken():
        return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0])

    first = b"x" * (8 << 20)
    after_it = [b"y" * (900 << 10) for _ in range(4)]  # so that it is not the heap's last block
    before = taken()
    del first
    return before - taken() > 7 << 10

allocation.note_command()
with allocation.large_blocks_given_back():
    print(given_back())
    with allocation.large_blocks_given_back():
        print(given_back())
    print(given_back())
print(given_back())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_the_inner_end_does_not_end_the_outer() -> None:
    ended = python("-c", PROGRAM)
    assert ended.code == 0, ended.err
    assert ended.out.split() == ["True", "True", "True", "False"]
