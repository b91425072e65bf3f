"""What scapy's own dissection says of packets: the oracle for the packet table."""

from ipaddress import IPv4Address

from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Packet

from analysis.capture.packets import PACKET_SCHEMA


def ether() -> Packet:
    """With both addresses given, for scapy would ask the network for them."""
    return Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


NOP = ("NOP", None)
STAMPS = ("Timestamp", (0xFEDCBA98, 0x01234567))
OPTIONS = [
    [],
    [NOP, NOP, STAMPS],
    [("MSS", 1460), ("SAckOK", b""), STAMPS, NOP, ("WScale", 7)],
    [NOP, NOP, ("SAck", (1000, 2000)), NOP, NOP, STAMPS],
    [NOP, NOP, STAMPS, NOP, NOP, ("SAck", (5, 2**32 - 1, 7, 9))],
    [("SAck", tuple(range(8))), NOP, NOP],
    [("MSS", 1460), ("EOL", None)],
    [STAMPS, ("EOL", None)],
    [("WScale", 0), STAMPS, NOP, STAMPS],
]
FLAGS = ["S", "SA", "A", "PA", "FA", "R", "RA", "PAU", "AEC"]

tcp_packets = st.builds(
    lambda src, dst, sport, dport, seq, ack, flags, window, options, size, ip_id, ip_options: (
        ether()
        / IP(src=str(src), dst=str(dst), id=ip_id, options=ip_options)
        / TCP(
            sport=sport,
            dport=dport,
            seq=seq,
            ack=ack,
            flags=flags,
            window=window,
            options=options,
        )
        / bytes(size)
    ),
    src=st.ip_addresses(v=4),
    dst=st.ip_addresses(v=4),
    sport=st.integers(0, 65535),
    dport=st.integers(0, 65535),
    seq=st.integers(0, 2**32 - 1),
    ack=st.integers(0, 2**32 - 1),
    flags=st.sampled_from(FLAGS),
    window=st.integers(0, 65535),
    options=st.sampled_from(OPTIONS),
    size=st.sampled_from([0, 1, 10, 1448]),
    ip_id=st.integers(0, 65535),
    ip_options=st.sampled_from([b"", b"\x01\x01\x01\x00"]),
)
other_packets = st.sampled_from(
    [
        ether() / ARP(psrc="10.0.0.1", pdst="10.0.0.2"),
        ether() / IPv6(src="::1", dst="::2") / TCP(sport=1, dport=2),
        ether() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / b"data",
        ether() / IP(src="10.0.0.1", dst="10.0.0.2", frag=100, proto=6) / bytes(64),
        ether() / bytes(40),
    ]
)
packets = st.one_of(tcp_packets, other_packets)


def dissected(raw: bytes, t_ns: int, wirelen: int, interface: int = 0) -> dict[str, object]:
    """The row of the packet table that scapy's dissection of the captured bytes gives."""
    packet = Ether(raw)
    row: dict[str, object] = dict.fromkeys(PACKET_SCHEMA, 0)
    row |= {"t_ns": t_ns, "wirelen": wirelen, "interface": interface, "is_tcp": False}
    row |= {"window_scale": -1, "has_timestamps": False, "sack": None}
    if IP in packet and packet[Ether].type == 0x0800:
        ip = packet[IP]
        row |= {"src": int(IPv4Address(ip.src)), "dst": int(IPv4Address(ip.dst)), "ip_id": ip.id}
        if TCP in packet and ip.frag == 0 and packet[TCP].dataofs >= 5:  # RFC 9293: 20 bytes
            row |= _tcp(packet[TCP], ip)
    return row


def _tcp(tcp: TCP, ip: IP) -> dict[str, object]:
    names = ("sport", "dport", "seq", "ack", "window")
    row: dict[str, object] = {name: getattr(tcp, name) for name in names}
    row |= {"is_tcp": True, "flags": int(tcp.flags)}
    row["payload_len"] = ip.len - ip.ihl * 4 - tcp.dataofs * 4
    options = dict(tcp.options)
    if isinstance(options.get("WScale"), int):
        row["window_scale"] = options["WScale"]
    if isinstance(options.get("Timestamp"), tuple):
        tsval, tsecr = options["Timestamp"]
        row |= {"has_timestamps": True, "tsval": tsval, "tsecr": tsecr}
    if isinstance(options.get("SAck"), tuple):
        row["sack"] = list(options["SAck"])
    return row
