"""Sentences about delivered models: downloads, deadlines, refusals, what could run when."""

from collections.abc import Sequence

from analysis.report.repeated import Spread, StepDownloads
from analysis.report.split_sentences import accuracy_words
from analysis.summary.accordion import (
    Accordion,
    ConfigurationFigures,
    DownloadSummary,
    RefusalSummary,
    StepDown,
    UeDeliveries,
)
from analysis.wording import agreeing, counted, listed, number, percent, side
from stage_node.records.configuration import configuration_name

TOLD = 6
"""Steps, and refusals, told in sentences; the tables have all."""

LEAST = "the least time that could be expected"


def delivery_sentences(accordion: Accordion, steps: Sequence[StepDownloads]) -> list[str]:
    """Say how each step's downloads went, what came in time, and what could run when."""
    told = [step for step in steps if step.downloads]
    sentences = [_step(step) for step in told[:TOLD]]
    if len(told) > TOLD:
        sentences.append(f"The table has {counted(len(told) - TOLD, 'further step')}.")
    sentences += [_deadlines(ue) for ue in accordion.ues if ue.requests > 1]
    sentences += [_refusal(refusal) for refusal in accordion.refusals[:TOLD]]
    sentences += [_step_down(change) for change in accordion.step_downs]
    if not accordion.downloads:
        sentences.append("A model was requested, but no download is in the captures.")
    return [*sentences, *(_first_and_best(ran) for ran in _by_ue(accordion))]


def leading_deliveries(accordion: Accordion, steps: Sequence[StepDownloads]) -> list[str]:
    """Say the same of all UEs together, in a few sentences."""
    if not accordion.downloads:
        return ["A model was requested, but no download is in the captures."]
    sentences = [*_all_deadlines(accordion), *_all_durations(steps)]
    if accordion.refusals:
        first = accordion.refusals[0]
        count = counted(len(accordion.refusals), "step")
        more = "" if len(accordion.refusals) == 1 else ", the first of them"
        sentences.append(
            f"{count} came to nothing{more}: {first.ue}, step {first.step + 1}: "
            f"{first.reason.rstrip('.')}."
        )
    return [*sentences, *_all_first_and_best(accordion)]


def _all_deadlines(accordion: Accordion) -> list[str]:
    requests = accordion.requests
    if not requests:
        return []
    met = sum(request.met for request in requests)
    late = {ue.ue: 0 for ue in accordion.ues}
    for request in requests:
        late[request.ue] = late.get(request.ue, 0) + (not request.met)
    missed = [f"{ue} missed {count}" for ue, count in late.items() if count]
    if not missed:
        whose = "The one request" if len(requests) == 1 else f"All {number(len(requests))} requests"
        verb = agreeing(len(requests), "was", "were")
        deadline = agreeing(len(requests), "its deadline", "their deadlines")
        return [f"{whose} with a deadline {verb} answered within {deadline}."]
    of_all = f"{number(met)} of {counted(len(requests), 'request')} with a deadline"
    verb = agreeing(met, "was", "were")
    return [f"{of_all} {verb} answered in time; {listed(missed)}."]


def _all_durations(steps: Sequence[StepDownloads]) -> list[str]:
    """Hold all downloads against the least time, and say whether their links changed."""
    downloads = [download for step in steps for download in step.downloads]
    excess = Spread.of([download.excess for download in downloads])
    if excess is None:
        return []
    what = "The one download was"
    if excess.count > 1:
        what = f"{counted(excess.count, 'download')} were"
    links = tuple(dict.fromkeys(link for step in steps for link in step.links))
    changed = sum(step.changed_downloads for step in steps)
    return [f"{what} {_beside_least(excess)}{_links_changed(links, changed, excess.count)}."]


def _all_first_and_best(accordion: Accordion) -> list[str]:
    ran = _by_ue(accordion)
    if len(ran) < 2:
        return [_first_and_best(each) for each in ran]
    first = sorted((each[0].usable_s or 0, each[0].ue) for each in ran)
    best = [_best(each) for each in ran]
    low, high = min(best, key=_value), max(best, key=_value)
    reached = f"the best at each UE reached {percent(_value(low))}"
    if side(100 * (_value(high) - _value(low)), 1) != "same":
        reached = (
            f"the best at a UE reached {percent(_value(low))} ({low.ue}) to "
            f"{percent(_value(high))} ({high.ue})"
        )
    (soon, one), (late, other) = first[0], first[-1]
    return [
        f"A first configuration ran {number(1e3 * soon)} ms ({one}) to {number(1e3 * late)} ms "
        f"({other}) after the UE's first SYN; {reached}."
    ]


def _step(step: StepDownloads) -> str:
    """Tell a lone download whole, repeated ones by median and spread."""
    if len(step.downloads) == 1:
        return _download(step.downloads[0], step)
    duration, excess = step.duration_ms, step.excess
    assert duration
    sentence = (
        f"{step.ue}, step {step.step + 1}: {counted(len(step.downloads), 'download')} took "
        f"{number(duration.median, 1)} ms (median; {number(duration.least, 1)} to "
        f"{number(duration.most, 1)} ms)"
    )
    if step.requests:
        sentence += f", {number(step.met)} of {number(len(step.requests))} within the deadline"
    if excess is not None:
        links = _links_changed(step.links, step.changed_downloads, len(step.downloads))
        sentence += f", {_beside_least(excess)}{links}"
    return sentence + "."


def _download(download: DownloadSummary, step: StepDownloads) -> str:
    sentence = (
        f"{download.ue} received bytes {number(download.first_byte)} to "
        f"{number(download.end_byte)} of {download.model} from {download.server} in "
        f"{number(download.duration_ms, 1)} ms"
    )
    if download.deadline_ms is not None:
        kept = "within" if download.deadline_met else "missing"
        sentence += f", {kept} its deadline of {number(download.deadline_ms)} ms"
    excess = Spread.of([download.excess])
    if excess is not None:
        sentence += f", {_beside_least(excess)}{_links_changed(step.links, 1, 1)}"
    return sentence + "."


def _beside_least(excess: Spread) -> str:
    """Word a download's time beside the least: above, below, or as long."""
    judged = side(100 * excess.median, 1)
    words = {
        "more": f"{percent(excess.median)} above {LEAST}",
        "less": f"{percent(-excess.median)} below {LEAST}",
        "same": f"at {LEAST}",
    }[judged]
    if side(100 * (excess.most - excess.least), 1) == "same":
        return words
    return f"{words} (median; {percent(excess.least)} to {percent(excess.most)})"


def _links_changed(links: Sequence[str], changed: int, count: int) -> str:
    """Say which links were not as probed, for the least time is reckoned from the probe."""
    if not links:
        return ""
    which = f"{agreeing(len(links), 'link', 'links')} {listed(links)}"
    during = "meanwhile" if count == changed else f"during {number(changed)} of them"
    return f"; but {which} changed {during}, and that time is for the link as probed"


def _deadlines(ue: UeDeliveries) -> str:
    way = "streamed" if ue.admission == "stream" else "admitted by look-up"
    sentence = (
        f"{ue.ue} asked {counted(ue.requests, 'time')}, {way}: {counted(ue.met, 'answer')} "
        f"{agreeing(ue.met, 'was', 'were')} there within the deadline"
    )
    if ue.useful_share_median is not None:
        sentence += (
            f", with {percent(ue.useful_share_median)} (median; lowest "
            f"{percent(ue.useful_share_min)}) of the blocks' bytes that its link could have "
            "carried by then"
        )
    return sentence + "."


def _refusal(refusal: RefusalSummary) -> str:
    who = "the server refused" if refusal.status else "it could not be done"
    return f"{refusal.ue}, step {refusal.step + 1}: {who}: {refusal.reason.rstrip('.')}."


def _step_down(change: StepDown) -> str:
    name = configuration_name(change.configuration)
    at = f", at {accuracy_words(change.accuracy)}" if change.accuracy else ""
    return (
        f"{change.ue} went over to {name}, {counted(change.macs, 'multiply-accumulate')}, without "
        f"any transfer{at}."
    )


def _first_and_best(ran: Sequence[ConfigurationFigures]) -> str:
    first, best = ran[0], _best(ran)
    assert first.accuracy
    assert best.accuracy
    return (
        f"{first.ue} ran its first configuration {number((first.usable_s or 0) * 1e3)} ms "
        f"after its first SYN, at {accuracy_words(first.accuracy)}; the best it ran reached "
        f"{accuracy_words(best.accuracy)}."
    )


def _by_ue(accordion: Accordion) -> list[list[ConfigurationFigures]]:
    """Gather the configurations that ran, UE by UE, in the order of time."""
    ran: dict[str, list[ConfigurationFigures]] = {}
    for step in accordion.configurations:
        if step.accuracy and step.usable_s is not None:
            ran.setdefault(step.ue, []).append(step)
    return list(ran.values())


def _best(ran: Sequence[ConfigurationFigures]) -> ConfigurationFigures:
    return max(ran, key=_value)


def _value(step: ConfigurationFigures) -> float:
    return step.accuracy.value if step.accuracy else 0.0
