from collections.abc import Iterator

import pytest

from stage_node.zygote import Zygote


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Imports torch once for all stage processes of these tests."""
    with Zygote.start(["stage_node.stage"]) as running:
        yield running
