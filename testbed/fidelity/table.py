"""A fidelity report as a person reads it: a line for every claim of every profile."""

from rich.table import Table
from rich.text import Text

from stage_node.records.vocabulary import ClockKind
from topologies.fidelity.claims import (
    FidelityReport,
    LossClaim,
    ProfileFidelity,
    RttClaim,
    SaturationClaim,
    Verdict,
)

AMPLE_WIDTH = 150
TOOLS: dict[ClockKind, str] = {"real": "iperf3 and ping", "virtual": "tcpdump and ping"}
STYLES: dict[Verdict, str] = {"pass": "green", "fail": "bold red", "not measurable": "yellow"}
HEADINGS = ("profile", "claim", "configured", "expected", "measured", "error", "allowed", "from")
NUMBERS = HEADINGS[2:7]


def fidelity_table(report: FidelityReport) -> Table:
    """Configured, expected, measured and error of every claim, and the verdict."""
    title = f"Link profiles by {TOOLS[report.clock]}, on the {report.clock} clock"
    table = Table(title=title, title_justify="left")
    for heading in HEADINGS:
        table.add_column(heading, justify="right" if heading in NUMBERS else "left")
    table.add_column("verdict", no_wrap=True)
    for profile in report.profiles:
        for row in _rows(profile):
            table.add_row(*row)
        table.add_section()
    return table


def conclusion(report: FidelityReport) -> str:
    """Count the profiles that hold their claims; list the others with the reason."""
    passed = sum(each.verdict == "pass" for each in report.profiles)
    lines = [f"{passed} of {len(report.profiles)} profiles are what they claim"]
    for each in report.profiles:
        if each.verdict != "pass":
            lines.append(f"{each.profile.name}: {each.verdict}: {'; '.join(_reasons(each))}")
    return "\n".join(lines)


def _rows(profile: ProfileFidelity) -> list[list[str | Text]]:
    """The cells of every line; the profile's name stands in the first alone."""
    lines = [(_cells(claim), claim.verdict) for claim in profile.claims]
    if profile.failure is not None:
        blank = [""] * (len(HEADINGS) - 1)
        lines.append((["failed", *blank[1:]], "fail"))
    return [
        ["" if number else profile.profile.name, *cells, Text(verdict, STYLES[verdict])]
        for number, (cells, verdict) in enumerate(lines)
    ]


def _cells(claim: SaturationClaim | RttClaim | LossClaim) -> list[str]:
    """Claim, configured, expected, measured, error, allowed, from."""
    match claim:
        case SaturationClaim():
            return _saturation_cells(claim)
        case RttClaim():
            return [
                "shortest RTT",
                "",
                f"{claim.expected_ms:.3f} ms",
                "none" if claim.measured_ms is None else f"{claim.measured_ms:.3f} ms",
                "" if claim.error_ms is None else f"{claim.error_ms:+.3f} ms",
                f"± {claim.tolerance_ms:.3f} ms",
                f"{claim.received} of {claim.sent} pings",
            ]
        case LossClaim():
            low, high = claim.interval_percent
            return [
                f"loss {claim.way}",
                f"{claim.configured_percent:g} %",
                f"in {low:.2f} to {high:.2f} %",
                f"{claim.measured_percent:.2f} %",
                f"{claim.measured_percent - claim.configured_percent:+.2f} points",
                "99 % interval",
                f"{claim.lost} of {claim.sent:,}",
            ]


def _saturation_cells(claim: SaturationClaim) -> list[str]:
    if claim.what == "rate":
        configured, unit = f"{claim.configured:g} Mbit/s", "Mbit/s"
        error, allowed = f"{claim.error_share:+.4%}", f"± {claim.tolerance_share:.2%}"
    else:
        configured, unit = f"{claim.configured:,.0f} B", "ms"
        error, allowed = f"{claim.error_share:+.2%}", f"± {claim.tolerance_share:.1%}"
    return [
        f"{claim.what} {claim.way}",
        configured,
        f"{claim.expected:.4g} {unit}",
        f"{claim.measured:.4g} {unit}",
        error,
        allowed,
        f"{claim.tool}, attempt {len(claim.attempts)}",
    ]


def _reasons(profile: ProfileFidelity) -> list[str]:
    reasons = [profile.failure] if profile.failure else []
    for claim in profile.claims:
        if claim.verdict == "pass":
            continue
        label, configured, expected, measured, error, allowed, basis = _cells(claim)
        expected = configured if isinstance(claim, LossClaim) else expected
        reason = f"{label} is {measured}, expected {expected}: {error}, {allowed}, {basis}"
        if isinstance(claim, SaturationClaim) and claim.is_beyond_host:
            reason += (
                f", and the host itself carries {claim.carried_mbit:.0f} Mbit/s when the link "
                "limits nothing"
            )
        reasons.append(reason)
    return reasons
