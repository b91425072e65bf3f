"""The exact interval is Clopper and Pearson's, as SciPy has it."""

import pytest
from scipy.stats import binomtest

from topologies.fidelity.binomial import exact_interval


@pytest.mark.parametrize(
    ("events", "trials"), [(0, 1), (1, 1), (0, 1000), (46, 4998), (1, 1000), (999, 1000), (37, 74)]
)
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.99])
def test_it_is_the_one_of_scipy(events: int, trials: int, confidence: float) -> None:
    theirs = binomtest(events, trials).proportion_ci(confidence, method="exact")
    assert exact_interval(events, trials, confidence) == pytest.approx(
        (theirs.low, theirs.high), abs=1e-9
    )


def test_nothing_is_known_without_trials_and_nonsense_is_refused() -> None:
    assert exact_interval(0, 0, 0.99) == (0, 1)
    with pytest.raises(ValueError, match="3 events in 2 trials"):
        exact_interval(3, 2, 0.99)
    with pytest.raises(ValueError, match="confidence"):
        exact_interval(1, 2, 99)
