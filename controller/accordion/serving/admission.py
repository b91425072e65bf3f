"""Admission: which configuration a UE gets, from the look-up table and an estimate of its link.

Pure functions; policy ``lookup`` of the Accordion paper (steps 2 and 5 of FIG. 2).
"""

from controller.accordion.lookup import LookupEntry, LookupTable
from controller.accordion.serving.link_estimate import LinkEstimate, download_time_ms
from stage_node.accordion.protocol import Admission, ModelRequest, NotAdmittedError
from stage_node.records.configuration import configuration_name

HEADROOM = 0.04
"""Share of a deadline that is kept free: an estimate is never quite right."""
CONFLICT, UNSATISFIABLE = 409, 416


def lookup(request: ModelRequest, table: LookupTable, link: LinkEstimate) -> Admission:
    """The configuration that meets a request; ``NotAdmittedError`` says why none does.

    With a wanted accuracy the smallest configuration that has it, else the most accurate one
    within ``max_bytes`` and ``deadline_ms`` less ``HEADROOM``; of equals the
    smaller.
    """
    if request.first_byte > table.entries[-1].end_byte:
        raise NotAdmittedError(
            UNSATISFIABLE,
            f"{request.model} has {table.entries[-1].end_byte} bytes; "
            f"none from byte {request.first_byte} on",
        )
    held = [entry for entry in table.entries if entry.end_byte <= request.first_byte]
    if request.accuracy is not None:
        accurate = [entry for entry in table.entries if entry.accuracy >= request.accuracy]
        if not accurate:
            raise NotAdmittedError(CONFLICT, _too_accurate(request, table))
        if accurate[0] in held:
            return _admission(request, accurate[0], link, "the UE has it already")
        candidates, reason = accurate[:1], f"smallest with accuracy >= {request.accuracy:g}"
    else:
        candidates = [entry for entry in table.entries if entry not in held]
        reason = "most accurate that fits"
    if not candidates:
        return _admission(request, held[-1], link, "the UE has the whole model")
    fitting = [entry for entry in candidates if _misfit(request, entry, link) is None]
    if not fitting:
        raise NotAdmittedError(CONFLICT, _misfit(request, candidates[0], link) or "")
    best = max(fitting, key=lambda entry: (entry.accuracy, -entry.end_byte))
    return _admission(request, best, link, reason)


def _admission(
    request: ModelRequest, entry: LookupEntry, link: LinkEstimate, reason: str
) -> Admission:
    end = max(entry.end_byte, request.first_byte)
    missing = end - request.first_byte
    return Admission(
        configuration=entry.configuration,
        accuracy=entry.accuracy,
        first_byte=request.first_byte,
        end_byte=end,
        estimate_mbit=link.rate_mbit,
        estimate_source=link.source,
        rtt_ms=link.rtt_ms,
        predicted_ms=download_time_ms(missing, link) if missing else 0.0,
        reason=reason,
    )


def _misfit(request: ModelRequest, entry: LookupEntry, link: LinkEstimate) -> str | None:
    """Why a configuration does not fit a request, or None if it does."""
    name = f"configuration {configuration_name(entry.configuration)} of {request.model}"
    if request.max_bytes is not None and entry.end_byte > request.max_bytes:
        return f"{name} takes {entry.end_byte} bytes, more than max_bytes={request.max_bytes}"
    needed_ms = download_time_ms(entry.end_byte - request.first_byte, link)
    if request.deadline_ms is not None and needed_ms > request.deadline_ms * (1 - HEADROOM):
        return (
            f"{name} takes {needed_ms:.0f} ms at {link.rate_mbit:.4g} Mbit/s and "
            f"{link.rtt_ms:.4g} ms round trip ({link.source}), more than deadline_ms="
            f"{request.deadline_ms:g} less {HEADROOM:.0%}"
        )
    return None


def _too_accurate(request: ModelRequest, table: LookupTable) -> str:
    best = max(table.entries, key=lambda entry: (entry.accuracy, -entry.end_byte))
    return (
        f"no configuration of {request.model} has accuracy {request.accuracy:g}; the best, "
        f"{configuration_name(best.configuration)}, has {best.accuracy:.4f}"
    )
