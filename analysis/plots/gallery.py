"""All plots of a run."""

from collections.abc import Iterator

from analysis.metrics.measure import Measured
from analysis.plots.connections import connection_plots
from analysis.plots.control import control_plots
from analysis.plots.delivery import delivery_plots
from analysis.plots.links import link_plots
from analysis.plots.pipeline import pipeline_plots
from analysis.plots.plot import Plot, named


def plots(measured: Measured) -> Iterator[Plot]:
    """Every plot for which the run has data, in the order of the report."""
    for pipeline in measured.pipelines:
        for plot in (*pipeline_plots(pipeline), *control_plots(pipeline)):
            yield named(plot, pipeline.title) if pipeline.title else plot
    yield from delivery_plots(measured)
    yield from link_plots(measured)
    yield from connection_plots(measured)
