"""Two ends of a connection agree, or say what they disagree on."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from stage_node.errors import ContractMismatchError, WireError
from stage_node.wire.codecs import Codec, plain
from stage_node.wire.contract import ActivationContract, Hello
from stage_node.wire.frame import DType, FrameKind, Header

CONTRACT = ActivationContract(cut=0, shape=(16, 8, 8), max_batch=4)
HELLO = Hello(
    purpose="activations",
    name="ue",
    model_hash="cafe",
    sender_stage=0,
    receiver_stage=1,
    contract=CONTRACT,
)


def activation(**changes: object) -> Header:
    fields: dict[str, object] = {
        "kind": FrameKind.ACTIVATION,
        "codec": Codec.named("fp32").number,
        "dtype": DType.FLOAT32,
        "shape": (4, 16, 8, 8),
        "payload_bytes": 4 * 16 * 8 * 8 * 4,
    }
    return Header(**(fields | changes))  # type: ignore[arg-type]


def test_only_the_name_may_differ() -> None:
    HELLO.check(HELLO.model_copy(update={"name": "edge"}))


def test_a_mismatch_names_every_field_and_both_sides() -> None:
    theirs = HELLO.model_copy(
        update={
            "name": "edge",
            "model_hash": "beef",
            "contract": CONTRACT.model_copy(update={"shape": (32, 8, 8)}),
        }
    )
    with pytest.raises(ContractMismatchError) as refused:
        HELLO.check(theirs)
    message = str(refused.value)
    assert "ue and edge do not agree" in message
    assert "model_hash: cafe here, beef there" in message
    assert "contract.shape: (16, 8, 8) here, (32, 8, 8) there" in message
    assert "protocol" not in message


def test_results_and_activations_do_not_mix() -> None:
    with pytest.raises(ContractMismatchError, match="purpose: activations here, results there"):
        HELLO.check(HELLO.model_copy(update={"purpose": "results", "contract": None}))


def test_hello_survives_the_wire() -> None:
    assert Hello.from_payload(HELLO.to_payload()) == HELLO


@given(st.binary(max_size=200))
def test_noise_is_no_hello(noise: bytes) -> None:
    with pytest.raises(WireError, match="malformed HELLO"):
        Hello.from_payload(noise)


def test_whatever_the_cut_may_send_keeps_to_the_contract() -> None:
    for samples in (1, 4):
        for channels in (1, 7, 16):
            x = torch.zeros(samples, channels, 8, 8)
            payload = plain((channels, 8, 8)).encode(x)
            assert len(payload) <= CONTRACT.max_payload_bytes
            CONTRACT.check(activation(shape=tuple(x.shape), payload_bytes=len(payload)))


@pytest.mark.parametrize(
    "broken",
    [
        activation(codec=0),
        activation(codec=77),
        activation(dtype=DType.INT64),
        activation(shape=(5, 16, 8, 8)),
        activation(shape=(0, 16, 8, 8)),
        activation(shape=(4, 17, 8, 8)),
        activation(shape=(4, 0, 8, 8)),
        activation(shape=(4, 16, 8, 9)),
        activation(shape=(4, 16, 64)),
        activation(payload_bytes=4 * 16 * 8 * 8 * 4 + 1),
    ],
)
def test_what_breaks_the_contract_is_refused(broken: Header) -> None:
    with pytest.raises(WireError):
        CONTRACT.check(broken)
