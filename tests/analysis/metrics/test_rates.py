"""The plot of a link that varies shows what held while there was traffic."""

from dataclasses import replace

import polars as pl

from analysis.metrics.measure import measure
from analysis.plots.links import applied_rates, link_plots
from analysis.run.reader import Run, read_run
from stage_node.records.events import LinkChanged
from tests.analysis.conftest import Known


def changes(begin_ns: int, *steps: tuple[float, float]) -> tuple[LinkChanged, ...]:
    return tuple(
        LinkChanged(
            t_ns=begin_ns + round(t_s * 1e9), who="runner", link="ue1-edge", direction="a_to_b",
            rate_mbit=mbit, delay_ms=1.0, loss_percent=0.0, late_ms=0.1,
        )
        for t_s, mbit in steps
    )  # fmt: skip


def test_a_link_is_as_configured_before_its_first_change_and_its_reset_is_not_shown(
    known: Known,
) -> None:
    run = read_run(known.path)
    step = next(
        s for s in run.network.directions if (s.link, s.direction) == ("ue1-edge", "a_to_b")
    )
    configured = run.network.links[0].a_to_b.rate_mbit
    achieved = pl.DataFrame({"t_s": [0.5, 1.0, 1.5], "mbit_per_s": [1.0, 1.0, 1.0]})

    def applied(*steps: tuple[float, float]) -> list[tuple[float, float]]:
        changed = replace(run, events=(*run.events, *changes(run.begin_ns, *steps)))
        table = applied_rates(changed, step, achieved)
        return [(round(t_s, 6), mbit) for t_s, mbit in table.select("t_s", "mbit_per_s").rows()]

    assert applied((1.0, 2.0), (9.0, configured)) == [(0.5, configured), (1.0, 2.0)]
    assert applied((0.2, 3.0), (1.2, 2.0)) == [(0.2, 3.0), (1.2, 2.0)]
    assert applied() == []


def probed_lines(run: Run) -> int:
    """Dotted lines of the plot of the throughput."""
    plot = next(plot for plot in link_plots(measure(run)) if plot.name == "throughput")
    return sum(line.get_linestyle() == ":" for axes in plot.figure.axes for line in axes.lines)


def test_what_was_probed_is_no_line_for_a_link_that_varied_later(known: Known) -> None:
    run = read_run(known.path)

    def lines_after(*steps: tuple[float, float]) -> int:
        return probed_lines(replace(run, events=(*run.events, *changes(run.begin_ns, *steps))))

    assert lines_after((1.0, 2.0), (2.0, 3.0)) == probed_lines(run) - 1
    assert lines_after((1.0, 3.0), (2.0, 3.0)) == probed_lines(run)  # only its delay changed
