"""What tshark says of the corpus: ``python -m tests.analysis.corpus.answers``.

The answers are kept in ``answers.json``, so that the tests need no tshark; its version is among
them.
"""

import json
import subprocess
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).parent
ANSWERS = CORPUS / "answers.json"
CAPTURES = sorted([*CORPUS.glob("*.pcap"), *CORPUS.glob("*.pcapng")])
FLAGS = (
    "retransmission",
    "fast_retransmission",
    "spurious_retransmission",
    "out_of_order",
    "duplicate_ack",
    "zero_window",
    "keep_alive",
)
"""Fields ``tcp.analysis.*`` of which the numbers of the frames that have them are kept."""
VALUES = ("ack_rtt", "bytes_in_flight")
"""Fields ``tcp.analysis.*`` of which the values are kept, by the number of the frame."""
COLUMNS = (
    *("frame.number", "frame.len", "tcp.hdr_len", "tcp.len"),
    *(f"tcp.analysis.{name}" for name in FLAGS + VALUES),
)


def ask(capture: Path) -> dict[str, Any]:
    """Totals, and frames (counted from 1) by what tshark found in them."""
    fields = [word for column in COLUMNS for word in ("-e", column)]
    # The status is that of a damaged file, too; what was read before it is printed.
    result = subprocess.run(
        ["tshark", "-n", "-r", str(capture), "-T", "fields", *fields],
        capture_output=True,
        text=True,
    )
    rows = [
        dict(zip(COLUMNS, line.split("\t"), strict=True)) for line in result.stdout.splitlines()
    ]
    answer: dict[str, Any] = {
        "packets": len(rows),
        "bytes": sum(int(row["frame.len"]) for row in rows),
        # A header of less than 20 bytes, which tshark calls bogus, has no payload behind it.
        "payload_bytes": sum(
            int(row["tcp.len"]) for row in rows if int(row["tcp.hdr_len"] or 0) >= 20
        ),
        "complaint": " ".join(result.stderr.split(str(capture.name))[1:]).strip('" \n'),
    }
    for name in FLAGS:
        answer[name] = [int(r["frame.number"]) for r in rows if r[f"tcp.analysis.{name}"]]
    for name in VALUES:
        column = f"tcp.analysis.{name}"
        answer[name] = {r["frame.number"]: float(r[column]) for r in rows if r[column]}
    return answer


def main() -> None:
    """Ask tshark about every capture."""
    version = subprocess.run(["tshark", "--version"], capture_output=True, text=True, check=True)
    answers = {"tshark": version.stdout.splitlines()[0]}
    answers |= {capture.name: ask(capture) for capture in CAPTURES}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(each)}" for name, each in answers.items())
    ANSWERS.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
