"""The result of a run in plain words, with its numbers: at most eight sentences, and all."""

from collections.abc import Sequence

from analysis.report.control_sentences import control_sentences
from analysis.report.delivery_sentences import delivery_sentences, leading_deliveries
from analysis.report.headline import Headline
from analysis.report.network_sentences import (
    at_once,
    charged,
    charged_in_short,
    reservations,
)
from analysis.report.repeated import StepDownloads
from analysis.report.split_sentences import (
    baseline_sentences,
    floor_sentences,
    no_comparison,
    pipeline_sentences,
    provenance,
)
from analysis.summary import Summary
from analysis.summary.pipeline import PipelineSummary
from analysis.wording import multiples

MOST = 8
"""Sentences between the table of headline figures and the first plot."""

NOTHING = "No split model served and no model was delivered in this run."
MORE = "The words below have more."


def leading_sentences(
    summary: Summary, tables: Sequence[Headline], steps: Sequence[StepDownloads]
) -> list[str]:
    """Say the result in at most ``MOST`` short sentences, reservations first."""
    sentences = reservations(summary)
    for pipeline, table in zip(summary.pipelines, tables, strict=True):
        whose = f"{table.title}: " if table.title else ""
        sentences += [whose + sentence for sentence in _leading_pipeline(pipeline, table)]
    if summary.accordion:
        sentences += leading_deliveries(summary.accordion, steps)
    if not summary.pipelines and not summary.accordion:
        sentences.append(NOTHING)
    sentences += at_once(summary)[:1]
    if summary.computing:
        sentences.append(charged_in_short(summary.computing))
    return sentences if len(sentences) <= MOST else [*sentences[: MOST - 1], MORE]


def result_paragraphs(summary: Summary, steps: Sequence[StepDownloads]) -> list[list[str]]:
    """Paragraphs of sentences: reservations, what ran at the same time, what computing was charged,
    each split model, its baselines and what its figures rest on, Accordion.

    They say no more than the summary holds.
    """
    paragraphs = [reservations(summary), at_once(summary)]
    if summary.computing:
        paragraphs.append(charged(summary.computing))
    for pipeline in summary.pipelines:
        told = [pipeline_sentences(pipeline), baseline_sentences(pipeline), provenance(pipeline)]
        if len(summary.pipelines) > 1:
            told = [[f"{pipeline.name}:", *sentences] for sentences in told if sentences]
        paragraphs += told
    if summary.accordion:
        paragraphs.append(delivery_sentences(summary.accordion, steps))
    if not summary.pipelines and not summary.accordion:
        paragraphs.append([NOTHING])
    return [paragraph for paragraph in paragraphs if paragraph]


def _leading_pipeline(pipeline: PipelineSummary, table: Headline) -> list[str]:
    sentences = []
    if pipeline.frozen_unchanged is False:
        sentences.append("The frozen layers CHANGED, which must not happen.")
    if pipeline.control:
        sentences += control_sentences(pipeline.control)[:3]
    elif not table.rows:
        sentences.append(no_comparison(pipeline))
    else:
        called = {
            "bytes": "bytes on the wire",
            "ms": "time from admission to result",
            "accuracy": "accuracy",
        }
        changes = [f"{called[r.quantity]} {r.in_words}" for r in table.rows if r.quantity in called]
        sentences.append(f"Compressing the fringe layers: {', '.join(changes)}.")
        sentences += floor_sentences(pipeline.accuracy_floor) if pipeline.accuracy_floor else []
    sentences += _raw_input(pipeline)
    if pipeline.target_reached is False:
        sentences.append("The compression loop ended without reaching its target.")
    return sentences


def _raw_input(pipeline: PipelineSummary) -> list[str]:
    """Hold the compressed split against sending the raw input over all connections."""
    if pipeline.baselines is None or pipeline.baselines.total.compressed_bytes is None:
        return []
    size, raw = (
        pipeline.baselines.total.compressed_bytes,
        pipeline.baselines.total.raw_input_bytes,
    )
    verdict = "a LOSS" if size > raw else "a gain" if size < raw else "neither loss nor gain"
    return [
        "Against sending the raw input over all connections instead, the compressed split is "
        f"{verdict} (bytes: {multiples(size, raw)})."
    ]
