"""Each target with what was kept of fuzzing, and with mutations of it: no undocumented error."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import kept
from tests.fuzz.mutate import of_bytes
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Target:
    return TARGETS[request.param]


def test_whole_inputs_are_taken_and_those_that_were_kept_do_no_harm(target: Target) -> None:
    check = target.check()
    assert all(check(data) for data in target.seeds())
    for data in kept(target.name):
        check(data)


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_mutations_do_no_harm(name: str) -> None:
    target = TARGETS[name]
    check = target.check()
    begin = [*target.seeds(), *kept(name)[:40]]

    @settings(max_examples=400, suppress_health_check=list(HealthCheck))
    @given(data=st.sampled_from(begin), seed=st.integers(0, 1 << 32))
    def tried(data: bytes, seed: int) -> None:
        draw = random.Random(seed)  # noqa: S311 -- the same in every run
        check(draw.choice((of_bytes, target.mutation))(data, draw))

    tried()
