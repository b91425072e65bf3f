from collections.abc import Iterator

import pytest
import torch

from stage_node.processes.zygote import Zygote

torch.set_num_threads(1)  # as in the stages; two threads spin for each other on a busy machine


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    """Imports torch once for all stage processes of these tests."""
    with Zygote.start(["stage_node.fringe.stage"]) as running:
        yield running
