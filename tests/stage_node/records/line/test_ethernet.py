"""The sizes against packets that scapy builds, and against the RFCs' own figures."""

from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Ether

from stage_node.records.line import ethernet


def test_a_full_segment_fills_the_mtu_and_the_frame():
    options = [("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]
    frame = Ether() / IP() / TCP(options=options) / bytes(ethernet.SEGMENT_BYTES)
    assert len(frame) == ethernet.FRAME_BYTES == 1514
    assert len(frame[IP]) == ethernet.MTU_BYTES == 1500
    assert ethernet.SEGMENT_BYTES == 1448
    assert ethernet.SEGMENT_HEADERS_BYTES == 66


def test_the_frames_without_payload():
    assert len(Ether() / IP() / TCP()) == ethernet.BARE_SEGMENT_FRAME_BYTES == 54
    assert len(Ether() / IP() / UDP()) == ethernet.DATAGRAM_HEADERS_BYTES == 42


def test_the_initial_window_is_that_of_rfc_6928():
    mss = 1460  # as the RFC counts it, without options
    assert min(10 * mss, max(2 * mss, 14600)) == ethernet.INITIAL_WINDOW_SEGMENTS * mss
