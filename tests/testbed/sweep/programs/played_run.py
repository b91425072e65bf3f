"""Leaves what a run leaves, without a run, and writes into a diary when and where it was made.

Arguments: run EXPERIMENT --set NAME=VALUE ... --host KIND --clock KIND --seed N --out DIR.
"""

import json
import os
import sys
import time
from pathlib import Path

FIDELITY = {
    "reasons": [],
    "goodput_error_max": 0.001,
    "rtt_error_ms_max": 0.1,
    "capture_dropped_packets": 0,
    "qdisc_difference_max": 0.0,
    "cpu_idle_min_share": 0.5,
    "cpu_idle_seconds": 3,
}
SUMMARY = {
    "schema": 2,
    "name": "t",
    "failure": None,
    "problems": [],
    "links": [],
    "replays": [],
    "together": False,
    "pipelines": [],
    "accordion": None,
}


def main() -> None:
    out = Path(sys.argv[-1])
    sets = dict(word.split("=") for word in sys.argv if "=" in word)
    rate = sets["network.links.ue2.rate_mbit"]
    begin = time.time()
    print("begun", flush=True)
    time.sleep(float(os.environ.get("SLEEP", "0.3")))
    note(out.name, begin)
    out.mkdir()
    if os.environ.get("FAIL") == rate:
        sys.exit("concertina: the emulation fell over")
    summary = SUMMARY | {
        "fidelity": FIDELITY | {"verdict": os.environ.get("VERDICT", "pass")},
        "captured_packets": 100 * int(rate) + int(out.name[:1], 16),
    }
    (out / "summary.json").write_text(json.dumps(summary))
    (out / "report.html").write_text("")


def note(key: str, begin: float) -> None:
    """Write key, CPUs, begin, end and place into the diary."""
    told = dict(zip(sys.argv[1:], sys.argv[2:], strict=False))
    place = [told["--host"], told["--clock"], int(told["--seed"])]
    entry = [key, sorted(os.sched_getaffinity(0)), begin, time.time(), place]
    with Path(os.environ["DIARY"]).open("a") as diary:
        diary.write(json.dumps(entry) + "\n")


if __name__ == "__main__":
    main()
