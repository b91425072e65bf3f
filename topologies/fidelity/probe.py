"""Measure every shaped link before a run: round trip, TCP goodput both ways, loss.

One process does it all: its sockets are made inside the namespaces of the link's two ends (see
:func:`topologies.machine.namespaces.inside`) and stay there, so packets take the emulated wires
while one loop sees both ends.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from stage_node.records.line.transfer_time import ideal_goodput_mbit, serialisation_ms
from stage_node.records.vocabulary import DIRECTIONS, ClockKind, Direction
from topologies.emulation.network import EmulatedNetwork
from topologies.fidelity.probes.datagram_loss import DATAGRAM_FRAME_BYTES, measure_losses
from topologies.fidelity.probes.echo import ECHO_FRAME_BYTES, measure_echoes
from topologies.fidelity.probes.goodput import Goodput, measure_goodput, window_bytes
from topologies.fidelity.probes.link_ends import vantages
from topologies.fidelity.tolerances import PROBE, Tolerances
from topologies.fidelity.verdict import GoodputProbe, LossProbe, Probe, RttProbe
from topologies.links.profiles import LinkProfile
from topologies.networks.shaping import ideal_rtt_ms, shape_of
from topologies.networks.spec import LinkSpec, direction_of

ECHOES = 8
ECHO_SPACING_S = 0.02
ANSWER_SLACK_S = 0.5  # waited beyond the round trip for what may still come
LOSS_S = 3.0
LOSS_SPACING_S = 0.003
LOSS_DATAGRAMS_MAX = 1000
SIDE_BY_SIDE_MBIT = 60.0  # total rate of links whose goodput is measured at the same time

ShapedLink = tuple[LinkSpec, LinkProfile]


def probe_network(net: EmulatedNetwork, clock: ClockKind = "real") -> Probe:
    """Measure all shaped links of an otherwise idle network, as exactly as its clock allows.

    Round trips and losses of all links are measured at once, goodput side by side on slow links
    and alone on fast ones.
    """
    links, tolerances = net.spec.shaped_links, PROBE[clock]
    goodput: list[GoodputProbe] = []
    with ThreadPoolExecutor(max_workers=2 * len(links)) as pool:
        rtt = list(pool.map(lambda link: _rtt(net, tolerances, *link), links))
        lossy = [
            (link, profile, direction)
            for link, profile in links
            for direction in DIRECTIONS
            if direction_of(profile, direction).loss_percent
        ]
        loss = list(pool.map(lambda way: _loss(net, *way), lossy))
        for group in side_by_side(links):
            for pair in pool.map(lambda link: _goodput_both_ways(net, tolerances, *link), group):
                goodput += pair
    return Probe(goodput=tuple(goodput), rtt=tuple(rtt), loss=tuple(loss))


def side_by_side(
    links: Sequence[ShapedLink], total_mbit: float = SIDE_BY_SIDE_MBIT
) -> list[list[ShapedLink]]:
    """Groups of links, in order, whose faster directions add up to no more than ``total_mbit``.

    A link that is faster by itself is alone in its group.
    """
    groups: list[list[ShapedLink]] = []
    used_mbit = 0.0
    for link, profile in links:
        rate_mbit = max(profile.down.rate_mbit, profile.up.rate_mbit)
        if not groups or used_mbit + rate_mbit > total_mbit:
            groups.append([])
            used_mbit = 0.0
        groups[-1].append((link, profile))
        used_mbit += rate_mbit
    return groups


def _rtt(
    net: EmulatedNetwork, tolerances: Tolerances, link: LinkSpec, profile: LinkProfile
) -> RttProbe:
    slowest_ms = max(
        serialisation_ms(ECHO_FRAME_BYTES, one_way.rate_mbit)
        for one_way in (profile.down, profile.up)
    )
    jitter_ms = profile.down.jitter_ms + profile.up.jitter_ms
    expected_ms = ideal_rtt_ms(profile, ECHO_FRAME_BYTES)
    probe = RttProbe(
        link=link.name,
        rounds=0,
        sent=0,
        received=0,
        rtt_min_ms=None,
        expected_ms=expected_ms,
        tolerance_ms=tolerances.rtt_ms + tolerances.rtt_share * expected_ms,
        early_ms=jitter_ms,
    )
    # The shortest of more echoes is still the shortest: a busy machine only delays them.
    while not probe.ok and probe.rounds < tolerances.attempts:
        echoes = measure_echoes(
            *vantages(net, link, "a_to_b"),
            count=ECHOES,
            spacing_s=max(ECHO_SPACING_S, 1.5 * slowest_ms / 1e3),
            timeout_s=(probe.expected_ms + jitter_ms) / 1e3 + ANSWER_SLACK_S,
        )
        shortest = [each for each in (probe.rtt_min_ms, echoes.rtt_min_ms) if each is not None]
        probe = replace(
            probe,
            rounds=probe.rounds + 1,
            sent=probe.sent + echoes.sent,
            received=probe.received + echoes.received,
            rtt_min_ms=min(shortest, default=None),
        )
    return probe


def _loss(
    net: EmulatedNetwork, link: LinkSpec, profile: LinkProfile, direction: Direction
) -> LossProbe:
    one_way = direction_of(profile, direction)
    frame_s = serialisation_ms(DATAGRAM_FRAME_BYTES, one_way.rate_mbit) / 1e3
    spacing_s = max(LOSS_SPACING_S, 1.1 * frame_s)
    losses = measure_losses(
        *vantages(net, link, direction),
        count=min(round(LOSS_S / spacing_s), LOSS_DATAGRAMS_MAX),
        spacing_s=spacing_s,
        timeout_s=(one_way.delay_ms + one_way.jitter_ms) / 1e3 + frame_s + ANSWER_SLACK_S,
    )
    return LossProbe(
        link=link.name,
        direction=direction,
        sent=losses.sent,
        lost=losses.lost,
        configured_percent=one_way.loss_percent,
    )


def _goodput_both_ways(
    net: EmulatedNetwork, tolerances: Tolerances, link: LinkSpec, profile: LinkProfile
) -> list[GoodputProbe]:
    return [_goodput(net, tolerances, link, profile, direction) for direction in DIRECTIONS]


def _goodput(
    net: EmulatedNetwork,
    tolerances: Tolerances,
    link: LinkSpec,
    profile: LinkProfile,
    direction: Direction,
) -> GoodputProbe:
    one_way = direction_of(profile, direction)
    probe = GoodputProbe(
        link=link.name,
        direction=direction,
        ideal_goodput_mbit=ideal_goodput_mbit(one_way.rate_mbit),
        goodput_mbit=None,
        tolerance_share=tolerances.rate_share,
    )
    # Loss or jitter on the way of the acknowledgements spoils it as well.
    if not (profile.down.is_exact and profile.up.is_exact):
        return probe
    window = window_bytes(
        one_way.rate_mbit, one_way.delay_ms, shape_of(profile, direction).buffer_bytes
    )
    ends = vantages(net, link, direction)
    return attempted(probe, lambda: measure_goodput(*ends, window), tolerances.attempts)


def attempted(probe: GoodputProbe, measure: Callable[[], Goodput], attempts: int) -> GoodputProbe:
    """The first attempt within the tolerance, else the last of ``attempts``.

    Never the best of those that failed: which one is reported must not depend on what is hoped for.
    """
    for _ in range(attempts):
        measured = measure()
        error = measured.mbit / probe.ideal_goodput_mbit - 1
        probe = replace(
            probe,
            goodput_mbit=measured.mbit,
            duration_s=measured.duration_s,
            longest_pause_ms=measured.longest_pause_ms,
            attempt_errors=(*probe.attempt_errors, error),
        )
        if probe.ok:
            break
    return probe
