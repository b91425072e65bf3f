"""Work beside a block ends with it, and its failure is not lost."""

import pytest

from topologies.machine.background import Background


class Counting(Background):
    def __init__(self, fails_at: int | None = None) -> None:
        super().__init__("counting")
        self.count = 0
        self._fails_at = fails_at

    def _work(self) -> None:
        while not self._ended.wait(0.001):
            self.count += 1
            if self.count == self._fails_at:
                raise ValueError("three")


def test_work_goes_on_until_the_block_is_left() -> None:
    with Counting() as counting:
        while counting.count < 3:
            pass
    left = counting.count
    assert left >= 3 and not counting._thread.is_alive()


def test_a_failure_beside_the_block_is_raised_on_leaving() -> None:
    with pytest.raises(ValueError, match="three"), Counting(fails_at=3) as counting:
        counting._thread.join()


def test_the_blocks_own_failure_goes_first() -> None:
    with pytest.raises(KeyError), Counting(fails_at=1) as counting:
        counting._thread.join()
        raise KeyError
