"""What a reader sees before the first plot: a table, at most eight sentences, nothing else open."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from analysis.metrics.figures import run_figures
from analysis.metrics.links.link_changes import changed_links, download_key
from analysis.report.delivery_sentences import delivery_sentences, leading_deliveries
from analysis.report.headline import delivery_rows, headlines
from analysis.report.page import render
from analysis.report.repeated import by_step
from analysis.report.sentences import MOST, leading_sentences
from analysis.report.split_sentences import baseline_sentences
from analysis.summary.accordion import Accordion, DeadlineRequest
from stage_node.records.events import LinkChanged
from tests.analysis.conftest import Known

SCREEN_LINES = 34
"""900 pixels, at about 26 for a line of text or a row."""
LETTERS = 110
"""Of a line of text at the page's width."""


BLOCKS = ("p", "li", "h1", "h2", "summary", "section", "div", "style")


class FirstScreen(HTMLParser):
    """Lines of what is before the first plot, folds closed."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.rows: list[list[str]] = []
        self.text, self.folds, self.in_summary, self.in_style, self.ended = (
            "",
            0,
            False,
            False,
            False,
        )

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        if tag == "figure" or ("class", "part") in attrs:
            self.ended = True
        if tag in (*BLOCKS, "details", "td", "th"):
            self.end()
        if tag == "tr":
            self.rows.append([])
        self.folds += tag == "details"
        self.in_summary |= tag == "summary"
        self.in_style |= tag == "style"

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.rows[-1].append(re.sub(r"\s+", " ", self.text).strip())
            self.text = ""
        elif tag in BLOCKS:
            self.end()
        if tag == "tr" and self.shown:
            self.lines.append(" ".join(self.rows[-1]))
        self.folds -= tag == "details"
        self.in_summary &= tag != "summary"
        self.in_style &= tag != "style"

    def handle_data(self, data: str) -> None:
        self.text += data

    @property
    def shown(self) -> bool:
        return not (self.ended or self.in_style or (self.folds and not self.in_summary))

    def end(self) -> None:
        text = re.sub(r"\s+", " ", self.text).strip()
        if text and self.shown:
            self.lines += textwrap.wrap(text, LETTERS)
        self.text = ""


def first_screen(page: str) -> FirstScreen:
    reader = FirstScreen()
    reader.feed(page)
    return reader


def many_ues(accordion: Accordion, count: int, rounds: int) -> Accordion:
    """The first download again and again, with the deadline of each."""
    first = accordion.downloads[0]
    names = [f"ue-{number}" for number in range(count)]
    downloads = [
        first.model_copy(update={"ue": ue, "round": n, "duration_ms": 100.0 + n})
        for ue in names
        for n in range(rounds)
    ]
    requests = [
        DeadlineRequest(
            ue=each.ue, round=each.round, step=0, admission="lookup", deadline_ms=150,
            refused=False, met=each.round != 1, configuration=None, useful_bytes=1,
            possible_bytes=1, carried_bytes=1, useful_share=1.0, link_share=1.0,
            first_inference_ms=None,
        )
        for each in downloads
    ]  # fmt: skip
    return accordion.model_copy(
        update={"downloads": tuple(downloads), "requests": tuple(requests), "ues": ()}
    )


def test_the_headline_figures_come_first_with_change_and_interval(known: Known) -> None:
    (table,) = headlines(known.measured)
    rows = {row.quantity: row for row in table.rows}
    assert list(rows) == ["bytes", "ms on the wire", "ms", "rate", "accuracy"]
    total = known.summary.pipeline and known.summary.pipeline.bandwidth_reduction
    assert total
    assert (rows["bytes"].before, rows["bytes"].after) == (total.total.before, total.total.after)
    for name in ("bytes", "ms", "accuracy"):
        row = rows[name]
        assert row.interval
        assert row.interval[0] <= row.after - row.before <= row.interval[1]
    assert rows["accuracy"].change == "\u22121.5 points"
    assert rows["accuracy"].in_words == "the same within its interval"
    assert rows["bytes"].in_words.endswith("\u00a0% less")
    page = (known.path / "report.html").read_text()
    assert page.index("95 % interval") < page.index('<ul class="result">') < page.index("<figure>")


def test_eq_1_and_eq_2_are_explained_where_they_stand(known: Known) -> None:
    page = re.sub(r"\s+", " ", (known.path / "report.html").read_text())
    for equation in ("Eq. 1", "Eq. 2"):
        place = page.index(f"<h3>{equation}")
        assert re.match(rf"<h3>{equation}.*?{equation} \[0043\].*?summed over all", page[place:])


@pytest.mark.parametrize(("ues", "rounds"), [(1, 1), (5, 20), (30, 2)])
def test_the_first_screen_is_one_screen(known: Known, ues: int, rounds: int) -> None:
    assert known.summary.accordion
    accordion = many_ues(known.summary.accordion, ues, rounds)
    summary = known.summary.model_copy(update={"accordion": accordion, "pipelines": ()})
    measured = replace(known.measured, summary=summary, pipelines=())
    steps = by_step(accordion, {})
    assert len(steps) == ues
    assert len(leading_sentences(summary, (), steps)) <= MOST
    screen = first_screen(render(measured, ()))
    assert len(screen.lines) <= SCREEN_LINES, "\n".join(screen.lines)


def test_the_tables_fit_eighty_columns(known: Known) -> None:
    screen = first_screen((known.path / "report.html").read_text())
    shown = [row for row in screen.rows if row][: len(headlines(known.measured)[0].rows) + 1]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    assert sum(widths) + 2 * len(widths) <= 80


def test_repeated_downloads_are_told_by_median_and_spread_and_each(known: Known) -> None:
    assert known.summary.accordion
    accordion = many_ues(known.summary.accordion, 1, 5)
    steps = by_step(accordion, {})
    (row,) = delivery_rows(steps)
    assert (row.downloads, row.in_time, row.median_ms) == ("5", "4 of 5", "102.0")
    assert row.spread_ms == "100.0 to 104.0"
    told = delivery_sentences(accordion, steps)
    assert told[0].startswith(
        "ue-0, step 1: 5 downloads took 102.0 ms (median; 100.0 to 104.0 ms), 4 of 5 within"
    )
    assert leading_deliveries(accordion, steps)[0] == (
        "4 of 5 requests with a deadline were answered in time; ue-0 missed 1."
    )
    summary = known.summary.model_copy(update={"accordion": accordion})
    page = render(replace(known.measured, summary=summary), ())
    table = page[page.index("Each of the 5 downloads") :]
    for nth in range(5):
        assert f"<td>1, {nth + 1}</td>" in table and f"<td>10{nth}.0</td>" in table


def test_a_download_whose_link_changed_says_so(known: Known) -> None:
    transfer = known.measured.transfers[0]
    step = transfer.ends.path[0]
    run = known.measured.run
    change = LinkChanged(
        t_ns=(transfer.begin_ns + transfer.end_ns) // 2, who="runner", link=step.link,
        direction=step.direction, rate_mbit=1.0, delay_ms=2.0, loss_percent=0.0, late_ms=0.0,
    )  # fmt: skip
    assert not any(changed_links(run, known.measured.transfers).values())
    changed = changed_links(replace(run, events=(*run.events, change)), known.measured.transfers)
    accordion = known.summary.accordion
    assert accordion
    first, second = accordion.downloads[:2]
    assert changed[download_key(first)] == changed[download_key(second)] == (step.link,)
    said = delivery_sentences(accordion, by_step(accordion, changed))
    assert f"; but link {step.link} changed meanwhile, and that time is for the link" in said[0]
    leading = leading_deliveries(accordion, by_step(accordion, changed))
    assert any(f"link {step.link} changed" in sentence for sentence in leading)
    rows: Sequence[object] = delivery_rows(by_step(accordion, changed))
    assert all("*" in str(row) for row in rows)


def test_equal_to_the_raw_input_is_neither_gain_nor_loss(known: Known) -> None:
    pipeline = known.summary.pipeline
    assert pipeline and pipeline.baselines
    for size, said in (
        (768.0, "neither loss nor gain on ue1 → edge (768 bytes, just as many)"),
        (769.0, "a LOSS on ue1 → edge (769 bytes, 0.1\u00a0% more)"),
        (760.0, "a gain on ue1 → edge (760 bytes, 1.0\u00a0% fewer)"),
    ):
        connections = tuple(
            each.model_copy(update={"uncompressed_bytes": size})
            for each in pipeline.baselines.connections
        )
        baselines = pipeline.baselines.model_copy(update={"connections": connections})
        sentences = baseline_sentences(pipeline.model_copy(update={"baselines": baselines}))
        assert said in sentences[1]


def test_one_answer_was_there(known: Known, tmp_path: Path) -> None:
    assert known.summary.accordion
    for rounds, said in ((1, "The one request with a deadline was answered"), (2, "1 of 2 req")):
        accordion = many_ues(known.summary.accordion, 1, rounds)
        assert leading_deliveries(accordion, by_step(accordion, {}))[0].startswith(said)


def test_repeated_downloads_are_compared_by_their_medians(known: Known) -> None:
    assert known.summary.accordion
    accordion = many_ues(known.summary.accordion, 1, 5)
    summary = known.summary.model_copy(update={"accordion": accordion})
    figures = list(run_figures(replace(known.measured, summary=summary, pipelines=())))
    assert {figure.section for figure in figures} == {"ue-0, step 1, median of 5 downloads"}
    assert next(f.value for f in figures if f.name == "duration") == 102.0
