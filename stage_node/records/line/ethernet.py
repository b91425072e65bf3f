"""Sizes of TCP and UDP packets on Ethernet, bytes.

Frames count as Linux's qdiscs and captures count them: from the Ethernet header to the last byte
of the IP packet, without preamble, frame check sequence and gap (IEEE 802.3).
"""

MTU_BYTES = 1500
"""The longest IP packet: IEEE 802.3; RFC 894."""

ETHERNET_HEADER_BYTES = 14
"""Two addresses and the type: IEEE 802.3."""

IPV4_HEADER_BYTES = 20
"""Without options: RFC 791, 3.1."""

UDP_HEADER_BYTES = 8
"""RFC 768."""

TCP_HEADER_BYTES = 20
"""Without options: RFC 9293, 3.1."""

TCP_TIMESTAMPS_BYTES = 12
"""The option on every segment, with its padding: RFC 7323, 3.2 and appendix A."""

FRAME_BYTES = ETHERNET_HEADER_BYTES + MTU_BYTES
"""The longest frame, 1514."""

SEGMENT_BYTES = MTU_BYTES - IPV4_HEADER_BYTES - TCP_HEADER_BYTES - TCP_TIMESTAMPS_BYTES
"""Payload of a full TCP segment, 1448."""

SEGMENT_HEADERS_BYTES = FRAME_BYTES - SEGMENT_BYTES
"""Headers of a TCP segment with timestamps, 66."""

BARE_SEGMENT_FRAME_BYTES = ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES + TCP_HEADER_BYTES
"""The shortest frame that TCP sends, 54: headers without options or payload."""

DATAGRAM_HEADERS_BYTES = ETHERNET_HEADER_BYTES + IPV4_HEADER_BYTES + UDP_HEADER_BYTES
"""Headers of a UDP datagram, 42."""

SMALLEST_FRAME_BYTES = 60
"""What Ethernet pads a frame to: IEEE 802.3, 64 with the frame check sequence."""

INITIAL_WINDOW_SEGMENTS = 10
"""Segments that TCP sends before the first acknowledgement: RFC 6928; Linux's default."""
