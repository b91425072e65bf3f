"""The native host, tried in a microVM on the real clock, which is the native host's only one: there
we are root and the kernel has everything."""

import pytest

pytestmark = [pytest.mark.microvm, pytest.mark.real_clock]


def test_native_leaves_no_interface_no_namespace_and_no_process(guest):
    assert guest.facts("hosts/native_host.py") == {
        "kind": "native",
        "statuses": [7, 137, 3],
        "made": True,
        "new_interfaces": [],
        "netns": [],
        "saved": True,
        "was_alive": 2,
        "is_alive": 0,
    }
