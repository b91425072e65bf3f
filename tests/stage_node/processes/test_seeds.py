"""All random numbers of a process come from the seed of its run and its own name."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stage_node.processes.seeds import SEED_VARIABLE, START_S, begin_as_seeded, seed_of

seeds = st.integers(0, 2**64 - 1)


@pytest.fixture(autouse=True)
def slept(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the process waited before it began; nobody has to."""
    waits: list[float] = []
    monkeypatch.setattr("time.sleep", waits.append)
    return waits


@pytest.fixture
def numbers(monkeypatch: pytest.MonkeyPatch) -> Any:
    def drawn(seed: int, name: str) -> tuple[object, ...]:
        monkeypatch.setenv(SEED_VARIABLE, str(seed))
        begin_as_seeded(name)
        return random.random(), float(np.random.random()), torch.rand(3).tolist()

    return drawn


def test_the_same_seed_and_name_give_the_same_numbers_and_another_of_either_gives_others(
    numbers: Any,
) -> None:
    assert numbers(1, "stage-a") == numbers(1, "stage-a")
    others = [numbers(1, "stage-a"), numbers(2, "stage-a"), numbers(1, "stage-b")]
    for kind in zip(*others, strict=True):
        assert len({str(each) for each in kind}) == 3


def test_processes_begin_at_moments_of_their_own(numbers: Any, slept: list[float]) -> None:
    for name in ("a", "b", "a"):
        numbers(5, name)
    first, second, again = slept
    assert first == again != second
    assert all(0 <= wait_s < START_S for wait_s in slept)


def test_without_a_seed_nothing_is_changed(
    monkeypatch: pytest.MonkeyPatch, slept: list[float]
) -> None:
    monkeypatch.delenv(SEED_VARIABLE, raising=False)
    state = random.getstate()
    begin_as_seeded("a")
    assert random.getstate() == state and slept == []


@given(seeds, st.text(), seeds, st.text())
def test_two_processes_share_a_seed_only_if_they_are_the_same(
    seed: int, name: str, other_seed: int, other_name: str
) -> None:
    one, other = seed_of(seed, name), seed_of(other_seed, other_name)
    assert 0 <= one < 2**63  # as torch takes it
    assert (one == other) == ((seed, name) == (other_seed, other_name))
