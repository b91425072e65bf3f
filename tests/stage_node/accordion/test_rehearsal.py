"""A UE has done before all that it will do, where it will do it."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from stage_node.accordion.ue import rehearsal
from stage_node.accordion.ue.model_in_use import ModelInUse
from stage_node.accordion.ue.rehearsal import LADDER, rehearse_computing, rehearse_receiving
from stage_node.processes.priority import LAST, put_computing_last


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_every_configuration_runs_in_32_and_in_8_bits(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    inferred = []

    class Watched(ModelInUse):
        def infer(self, images: torch.Tensor) -> tuple[tuple[int, ...], torch.Tensor]:
            configuration, logits = super().infer(images)
            inferred.append((configuration, tuple(logits.shape)))
            return configuration, logits

    monkeypatch.setattr(rehearsal, "ModelInUse", Watched)
    bits = []
    for reader in rehearse_receiving(shape, 10):
        bits.append(reader.require_header().weights.bits)
        rehearse_computing(reader, torch.zeros(2, *shape))
    assert bits == [32, 8]
    assert inferred == 2 * [(configuration, (2, 10)) for configuration in LADDER]


def test_only_the_thread_that_computes_comes_last() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, 0)

    own = niceness()
    with ThreadPoolExecutor(1, initializer=put_computing_last) as runner:
        assert runner.submit(niceness).result() == LAST
    assert niceness() == own
