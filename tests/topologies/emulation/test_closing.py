"""Which connections may still send something when no process is left."""

import pytest

from topologies.emulation.closing import any_closing

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid\n"
ROW = "   0: 0100000A:1F40 0200000A:{port} {state} 00000000:00000000 00:00000000 00000000     0\n"


@pytest.mark.parametrize(
    ("states", "closing"),
    [
        ([], False),
        (["0A", "06", "05"], False),  # listens, has closed, waits for the other side
        (["06", "04"], True),
        (["09"], True),
        (["0B", "0A"], True),
    ],
)
def test_a_connection_that_waits_for_its_last_acknowledgement_may_send_again(states, closing):
    rows = "".join(ROW.format(port=f"{5000 + n:04X}", state=s) for n, s in enumerate(states))
    assert any_closing(HEAD + rows) is closing
