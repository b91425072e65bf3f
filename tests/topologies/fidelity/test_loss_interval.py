"""The intervals of the true loss against published values."""

import pytest

from topologies.fidelity.loss_interval import loss_interval


@pytest.mark.parametrize(
    ("lost", "sent", "exact", "wilson"),
    [  # R. G. Newcombe, Statistics in Medicine 17, 1998, p. 857, table I, 95 %
        (81, 263, (0.2527, 0.3676), (0.2553, 0.3662)),
        (15, 148, (0.0578, 0.1617), (0.0624, 0.1605)),
        (0, 20, (0.0, 0.1684), (0.0, 0.1611)),
        (1, 29, (0.0009, 0.1776), (0.0061, 0.1718)),
    ],
)
def test_they_are_newcombe_s_examples(lost, sent, exact, wilson) -> None:
    assert loss_interval(lost, sent, 0.95, "exact") == pytest.approx(exact, abs=5e-5)
    assert loss_interval(lost, sent, 0.95, "wilson") == pytest.approx(wilson, abs=5e-5)


def test_nothing_is_known_without_datagrams_and_nonsense_is_refused() -> None:
    assert loss_interval(0, 0, 0.99, "exact") == (0, 1)
    with pytest.raises(ValueError):
        loss_interval(3, 2, 0.99, "exact")
    with pytest.raises(ValueError):
        loss_interval(1, 2, 99, "wilson")
