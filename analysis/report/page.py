"""The page a person opens: one HTML file, nothing outside it."""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from analysis.metrics.links.link_changes import changed_links, restorations
from analysis.metrics.measure import Measured
from analysis.report.headline import ROWS, delivery_rows, headlines
from analysis.report.repeated import by_step
from analysis.report.sentences import leading_sentences, result_paragraphs
from analysis.wording import counted, listed, number, percent

_TEMPLATES = Path(__file__).parent / "templates"

_MANIFEST_FIELDS = ("started", "host", "clock_kind", "seed", "guest_kernel", "command", "code")
"""Shown first, in this order; everything else of the manifest follows, folded."""


@dataclass(frozen=True)
class ShownPlot:
    """A saved plot and the line below it."""

    path: Path
    caption: str

    @property
    def data_uri(self) -> str:
        """The SVG itself, as an image: its element names cannot clash with another plot's."""
        return "data:image/svg+xml;base64," + base64.b64encode(self.path.read_bytes()).decode()

    @property
    def data_file(self) -> str:
        """The CSV file beside it, relative to the run directory."""
        return f"{self.path.parent.name}/{self.path.stem}.csv"


def write_report(path: Path, measured: Measured, shown: Sequence[ShownPlot]) -> None:
    """Render the report of a run: verdict, headline figures, sentences, plots, details."""
    path.write_text(render(measured, shown), encoding="utf-8")


def render(measured: Measured, shown: Sequence[ShownPlot]) -> str:
    """Write the page as text."""
    run, summary = measured.run, measured.summary
    manifest = run.manifest.content()
    first = {name: manifest.pop(name) for name in _MANIFEST_FIELDS}
    changed = changed_links(run, measured.transfers)
    steps = by_step(summary.accordion, changed) if summary.accordion else ()
    tables = headlines(measured)
    rows = delivery_rows(steps)
    return page(
        "report.html.j2",
        summary=summary,
        tables=tables,
        deliveries=rows[:ROWS],
        more_deliveries=max(0, len(rows) - ROWS),
        steps=steps,
        sentences=leading_sentences(summary, tables, steps),
        paragraphs=result_paragraphs(summary, steps),
        restored=restorations(run),
        plots=shown,
        experiment=run.experiment,
        manifest={name: _plain(value) for name, value in first.items()},
        manifest_rest=json.dumps(manifest, indent=2),
    )


def page(template: str, **values: object) -> str:
    """Fill in one of the templates."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "percent": percent,
        "listed": listed,
        "counted": counted,
    }
    return environment.get_template(template).render(**values)


def _plain(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, list):
        return " ".join(_plain(part) for part in value)
    return str(value)
