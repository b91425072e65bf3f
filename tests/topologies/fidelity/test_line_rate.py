"""The rate of a line from what tcpdump says of the datagrams behind it."""

import pytest

from topologies.errors import EmulationError
from topologies.fidelity.probes.line_rate import Datagram, parse_datagrams, payload_mbit

LINES = """\
1767225604.311782912 IP 10.0.0.2.36781 > 10.0.0.1.5201: UDP, length 4
1767225604.311783 ARP, Request who-has 10.0.0.1 tell 10.0.0.2, length 28
1767225605.000000001 IP 10.0.0.2.36781 > 10.0.0.1.5201: UDP, length 147
1767225605.0010081"""


def test_only_whole_lines_of_datagrams_are_read() -> None:
    assert parse_datagrams(LINES) == (
        Datagram(1767225604_311782912, 4),
        Datagram(1767225605_000000001, 147),
    )


def test_the_first_stamp_only_begins_the_time() -> None:
    datagrams = [Datagram(at_ns, 125) for at_ns in (0, 1_000_000, 2_000_000)]
    assert payload_mbit(datagrams) == pytest.approx(1.0)


def test_a_rate_needs_two_datagrams() -> None:
    with pytest.raises(EmulationError, match="no flood"):
        payload_mbit([Datagram(0, 125)])
