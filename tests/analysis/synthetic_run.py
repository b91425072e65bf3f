"""A run directory made from a simulation, with the truth beside it.

Three hosts in a chain, ue1 -- edge -- cloud. A model split over all three serves before and after
compression; then ue1 downloads an Accordion model from edge in two steps.
"""

from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from analysis.run.ledger import LEDGER_SCHEMA
from stage_node.records.captures import CaptureCounters, CapturesRecord
from stage_node.records.events import (
    Admitted,
    ConfigurationEvaluated,
    ConfigurationReady,
    DownloadEnded,
    Event,
    ImagesUsed,
    ModelRequested,
    PartitionChosen,
    Phase,
    WorkCost,
)
from stage_node.records.machine import ClockPair
from stage_node.records.run_directory import RunDirectory
from tests.analysis.synthetic_loop import (
    BATCH,
    FRAMES,
    HEADER_BYTES,
    MS,
    PERIOD_MS,
    SPLIT_BYTES,
    loop_events,
)
from tests.analysis.synthetic_records import (
    DELAYS_MS,
    EXPERIMENT,
    LINK_OF,
    NETWORK,
    RATES_MBIT,
    fidelity,
    manifest,
)
from tests.analysis.tcp.tcp_simulator import (
    Connection,
    Endpoint,
    Tap,
    Wire,
    write_pcap,
)

START_NS = 50_000 * MS
REALTIME_OFFSET_NS = 1_700_000_000_123_456_789
DRIFT_NS = 40_000
RAW_INPUT_BYTES = 768
IMAGES_USED = (("calibration", "train", 512), ("decisions", "validation", 300))
LOST_FRAME = 10  # its first segment is lost once, on the first cut
COMPUTE_MS = 2
HTTP_HEADER_BYTES = 180
THINKING_MS = 2
PREFIXES = (((1, 1, 1), 30_000, 0.90), ((2, 2, 2), 60_000, 0.95), ((3, 3, 3), 100_000, 0.97))


@dataclass
class Truth:
    """What really happened: per (label, cut, frame) times, per download times."""

    first_out_ns: dict[tuple[str, int, int], int] = field(default_factory=dict)
    delivered_ns: dict[tuple[str, int, int], int] = field(default_factory=dict)
    retransmitted: dict[int, int] = field(default_factory=dict)
    downloads_ms: list[float] = field(default_factory=list)
    ready_ns: dict[tuple[int, ...], int] = field(default_factory=dict)
    first_syn_ns: int = 0


class SyntheticRun:
    """Simulates, and writes what a run would leave."""

    def __init__(self, *, pipeline: bool = True, accordion: bool = True) -> None:
        self.truth = Truth()
        self.taps = {name: Tap() for name in ("ue1-eth0", "edge-eth0", "edge-eth1", "cloud-eth0")}
        self.events: list[Event] = []
        self.frames: list[dict[str, object]] = []
        self.compute: list[dict[str, object]] = []
        self.results: list[dict[str, object]] = []
        self._phase("probe", START_NS, START_NS + 500 * MS)
        now = START_NS + 1000 * MS
        if pipeline:
            now = self._pipeline(now) + 500 * MS
        if accordion:
            now = self._accordion(now)
        self.end_ns = now

    # ---- the split model

    def _pipeline(self, start_ns: int) -> int:
        self._event(
            PartitionChosen(
                t_ns=start_ns,
                who="controller",
                hosts=("ue1", "edge", "cloud"),
                stages=(("stem",), ("block1_0", "block2_0"), ("head",)),
                fringe=("stem", "block1_0", "block2_0", "head"),
                raw_input_bytes=RAW_INPUT_BYTES,
            )
        )
        for purpose, split, images in IMAGES_USED:
            used = ImagesUsed(
                t_ns=start_ns, who="controller", purpose=purpose, split=split, images=images
            )
            self._event(used)
        self._event(
            WorkCost(
                t_ns=start_ns,
                who="controller",
                work="loop",
                duration_s=12.5,
                cpu_s=1.25,
                peak_memory_mib=512,
            )
        )
        plan = {"before": start_ns + 100 * MS, "after": start_ns + 3000 * MS}
        queued = {
            (label, k): begin + k * PERIOD_MS * MS + (k * k % 7) * MS
            for label, begin in plan.items()
            for k in range(FRAMES)
        }
        admitted = {key: t - (COMPUTE_MS + 1) * MS for key, t in queued.items()}
        for key, t in queued.items():
            self._computed("ue1", key, t - COMPUTE_MS * MS)
        end = 0
        for cut in range(2):
            delivered = self._cut(cut, queued, start_ns)
            queued = {key: t + COMPUTE_MS * MS for key, t in delivered.items()}
            host = ("edge", "cloud")[cut]
            for key, t in delivered.items():
                self._computed(host, key, t)
        for (label, k), t in queued.items():
            self.results.append(
                {"node": "ue1", **self._key(label, k), "samples": BATCH, "correct": BATCH - 1}
                | {"t_admitted_ns": admitted[label, k], "t_result_ns": t + MS}
            )
            end = max(end, t + MS)
        self.events += loop_events(plan, end)
        return end

    def _key(self, label: str, k: int) -> dict[str, object]:
        before = label == "before"
        return {"sequence": k if before else 1000 + k, "generation": 0 if before else 2}

    def _computed(self, host: str, key: tuple[str, int], t_ns: int) -> None:
        self.compute.append(
            {"node": host, **self._key(*key), "samples": BATCH}
            | {"t_free_ns": t_ns, "t_begin_ns": t_ns, "t_end_ns": t_ns + COMPUTE_MS * MS}
        )

    def _cut(
        self, cut: int, queued: dict[tuple[str, int], int], start_ns: int
    ) -> dict[tuple[str, int], int]:
        """One connection: frames written when queued; the time each was delivered."""
        names = (("ue1", "edge"), ("edge", "cloud"))[cut]
        taps = ("ue1-eth0", "edge-eth0") if cut == 0 else ("edge-eth1", "cloud-eth0")
        forward, backward = (Wire(RATES_MBIT[cut], DELAYS_MS[cut]) for _ in range(2))
        sender = Endpoint(f"10.0.{cut}.1", 40_000 + cut, 4_294_900_000, self.taps[taps[0]], forward)
        receiver = Endpoint(f"10.0.{cut}.2", 5001, 77, self.taps[taps[1]], backward)
        sender.dropped = (
            {LOST_FRAME * (HEADER_BYTES + SPLIT_BYTES["before"][0])} if cut == 0 else set()
        )
        connection = Connection(sender, receiver, start_ns)
        offset, spans = 0, {}
        for (label, k), when in sorted(queued.items(), key=lambda item: item[1]):
            size = HEADER_BYTES + SPLIT_BYTES[label][cut]
            connection.write(when, sender, size)
            spans[label, k] = (offset, offset + size)
            offset += size
        connection.run()
        delivered = {}
        for (label, k), (first, end) in spans.items():
            delivered[label, k] = receiver.delivered_ns(end)
            self.truth.first_out_ns[label, cut, k] = sender.sent_ns(first)
            self.truth.delivered_ns[label, cut, k] = delivered[label, k]
            self._frame_rows(cut, names, sender, receiver, label, k, (first, end), queued)
        self.truth.retransmitted[cut] = sum(size for _, size in sender.retransmitted)
        return delivered

    def _frame_rows(
        self,
        cut: int,
        names: tuple[str, str],
        sender: Endpoint,
        receiver: Endpoint,
        label: str,
        k: int,
        span: tuple[int, int],
        queued: dict[tuple[str, int], int],
    ) -> None:
        common = {"cut": cut, "kind": "activation", "codec": "fp32", **self._key(label, k)}
        common |= {"samples": BATCH, "first_byte": span[0], "end_byte": span[1]}
        common |= {"payload_bytes": span[1] - span[0] - HEADER_BYTES}
        t = queued[label, k]
        arrived = receiver.delivered_ns(span[1])
        for node, peer, direction, here, there, times in (
            (*names, "send", sender, receiver, (t, t, t + MS)),
            (*names[::-1], "recv", receiver, sender, (0, arrived, arrived + MS // 10)),
        ):
            self.frames.append(
                {"node": node, "peer": peer, "direction": direction}
                | {"local_ip": here.ip, "local_port": here.port}
                | {"peer_ip": there.ip, "peer_port": there.port}
                | common
                | dict(zip(("t_queued_ns", "t_begin_ns", "t_end_ns"), times, strict=True))
            )

    # ---- Accordion

    def _accordion(self, start_ns: int) -> int:
        now = start_ns
        self.truth.first_syn_ns = now
        for nth, (first, end) in enumerate(((0, 60_000), (60_000, 100_000))):
            now = self._download(nth, now, first, end) + 400 * MS
        return now

    def _download(self, nth: int, start_ns: int, first: int, end: int) -> int:
        ue = Endpoint(
            "10.0.0.1", 50_000 + nth, 1, self.taps["ue1-eth0"], Wire(RATES_MBIT[0], DELAYS_MS[0])
        )
        server = Endpoint(
            "10.0.0.2", 8080, 99, self.taps["edge-eth0"], Wire(RATES_MBIT[0], DELAYS_MS[0])
        )
        connection = Connection(ue, server, start_ns)
        connection.write(start_ns + round(10.3 * MS), ue, 120)
        size = HTTP_HEADER_BYTES + end - first
        server.on_progress = lambda now, received: connection.write(
            now + THINKING_MS * MS, server, size
        )
        connection.run()
        done = ue.delivered_ns(size)
        self.truth.downloads_ms.append((done - start_ns) / 1e6)
        wanted = {"deadline_ms": 150.0 if nth == 0 else None, "accuracy": 0.96 if nth else None}
        self._event(
            ModelRequested(
                t_ns=start_ns,
                who="ue1",
                model="digits",
                max_bytes=None,
                first_byte=first,
                step=nth,
                **wanted,
            )
        )
        self._event(
            Admitted(
                t_ns=start_ns + 15 * MS,
                who="edge",
                model="digits",
                ue="10.0.0.1",
                configuration=PREFIXES[1 + nth][0],
                first_byte=first,
                end_byte=end,
                estimate_mbit=9.5,
                reason="the largest that meets the deadline" if nth == 0 else "reaches 0.96",
            )
        )
        for configuration, file_bytes, accuracy in PREFIXES:
            if first < file_bytes <= end:
                ready = ue.delivered_ns(HTTP_HEADER_BYTES + file_bytes - first)
                self.truth.ready_ns[configuration] = ready
                about = {"who": "ue1", "model": "digits", "configuration": configuration}
                self._event(
                    ConfigurationReady(t_ns=ready + MS // 5, file_bytes=file_bytes, **about)
                )
                self._event(
                    ConfigurationEvaluated(
                        t_ns=ready + 8 * MS, accuracy=accuracy, samples=300, split="test", **about
                    )
                )
        self._event(
            DownloadEnded(
                t_ns=done + MS // 5,
                who="ue1",
                model="digits",
                begin_ns=start_ns - MS // 5,
                first_byte=first,
                end_byte=end,
                local_port=ue.port,
                server_port=server.port,
                step=nth,
            )
        )
        return done

    # ---- the run directory

    def write(self, path: Path) -> Path:
        """Leave everything in a directory, as the testbed would."""
        run = RunDirectory(path)
        for folder in (run.captures, run.ledger, run.logs):
            folder.mkdir(parents=True)
        run.experiment.write_text(EXPERIMENT)
        manifest(tuple(map(self._clocks, (START_NS, self.end_ns)))).write(run.manifest)
        NETWORK.write(run.network)
        fidelity(self.taps).record().write(run.fidelity)
        counters = []
        for interface, tap in self.taps.items():
            in_time = sorted(tap.packets, key=lambda seen: seen[0])
            packets = [(self._realtime(t), packet) for t, packet in in_time]
            write_pcap(run.capture(interface), packets)
            counters.append(
                CaptureCounters(
                    interface=interface,
                    link=LINK_OF[interface],
                    captured=len(packets),
                    received_by_filter=len(packets),
                    dropped_by_kernel=0,
                )
            )
        CapturesRecord(captures=tuple(counters)).write(run.capture_counters)
        lines = [event.to_json() for event in sorted(self.events, key=lambda event: event.t_ns)]
        run.events.write_text("\n".join(lines) + "\n")
        for table in ("frames", "compute", "results"):
            # As the testbed does: a table that nobody wrote to is there, and empty.
            rows = getattr(self, table)
            kept = pl.DataFrame(rows) if rows else pl.DataFrame(schema=LEDGER_SCHEMA[table])
            kept.write_parquet(run.ledger / f"{table}.parquet")
        return path

    def _clocks(self, monotonic_ns: int) -> ClockPair:
        return ClockPair(monotonic_ns=monotonic_ns, realtime_ns=self._realtime(monotonic_ns))

    def _realtime(self, monotonic_ns: int) -> int:
        """The capture's clock: ahead by an offset, and drifting."""
        share = (monotonic_ns - START_NS) / max(self.end_ns - START_NS, 1)
        return monotonic_ns + REALTIME_OFFSET_NS + round(DRIFT_NS * share)

    def _event(self, event: Event) -> None:
        self.events.append(event)

    def _phase(self, name: str, begin_ns: int, end_ns: int) -> None:
        self._event(Phase(t_ns=begin_ns, who="runner", phase=name, state="begin"))
        self._event(Phase(t_ns=end_ns, who="runner", phase=name, state="end"))
