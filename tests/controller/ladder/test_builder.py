"""Ladders measured on a small model, cached by content, with a distilled module among the rungs."""

from pathlib import Path

import pytest
import torch

from controller.errors import BadTargetsError
from controller.ladder.builder import build_ladder
from controller.ladder.cache import BadLadderError, BuiltLadder, LadderRequest, ensure_ladder
from controller.ladder.ladder import LadderTable, ModuleFile
from controller.ladder.rung_cost import coded_weights, weights_coding
from controller.split.partition import split_after
from stage_node.fringe.bottleneck import Bottleneck, BottleneckSpec, save_bottleneck
from stage_node.models import ChainModel, ModelSpec, build_model, save_checkpoint
from stage_node.wire.rung import UNCOMPRESSED

SPEC = ModelSpec(depth=8, width=4, classes=10, in_channels=1, image_size=8)
CUTS = ("block1_0", "block2_0")


@pytest.fixture(scope="module")
def model() -> ChainModel:
    torch.manual_seed(3)
    return build_model(SPEC).eval()


@pytest.fixture
def checkpoint(model: ChainModel, tmp_path: Path) -> Path:
    file = tmp_path / "model.safetensors"
    save_checkpoint(file, model)
    return file


@pytest.fixture
def module(model: ChainModel, tmp_path: Path) -> ModuleFile:
    """A bottleneck that learned nothing, with a tuned copy of the receiving fringe layer."""
    torch.manual_seed(4)
    spec = BottleneckSpec(in_shape=(4, 8, 8), stride=2, channels=8, bits=2, hidden=8)
    layers = {
        name: tensor + 0.01 if tensor.is_floating_point() else tensor
        for name, tensor in model.segment(["block2_0"]).state_dict().items()
    }
    file = tmp_path / "bottleneck.safetensors"
    save_bottleneck(file, Bottleneck(spec).eval(), layers)
    return ModuleFile(name="bottleneck of 32 bytes", after="block1_0", file=str(file))


def request(
    checkpoint: Path, model: ChainModel, cuts: tuple[str, ...] = CUTS, **changes: object
) -> LadderRequest:
    fields: dict[str, object] = {
        "checkpoint": checkpoint,
        "dataset": "digits",
        "stages": split_after(model.layer_names, cuts).stages,
        "mechanisms": ("width", "quantise", "zstd"),
        "calibration_images": 64,
        "validation_images": 50,
        "batch": 10,
    }
    return LadderRequest.model_validate(fields | changes)


def test_what_a_ladder_says_is_what_the_cut_does(checkpoint: Path, model: ChainModel) -> None:
    built = build_ladder(request(checkpoint, model))
    for ladder, channels, pixels in zip(built.table.ladders, (4, 8), (64, 16), strict=True):
        uncompressed, *others = ladder.rungs
        assert uncompressed.payload_bytes == ladder.raw_bytes == 4 * channels * pixels
        assert others, "there is something to step down to"
        for rung in others:
            packed = (rung.rung.width or channels) * pixels * rung.rung.bits / 8
            assert rung.payload_bytes <= packed + 3 or not rung.rung.zstd
            assert rung.encode_ms > 0 and rung.decode_ms > 0
    assert built.table.cost.duration_s > 0 and built.table.cost.peak_memory_mib > 0
    assert LadderTable.from_json(built.table.to_json()) == built.table


def test_a_ladder_is_built_once_and_again_when_anything_in_it_changed(
    checkpoint: Path, model: ChainModel, tmp_path: Path
) -> None:
    built: list[LadderRequest] = []

    def build(asked: LadderRequest) -> BuiltLadder:
        built.append(asked)
        return build_ladder(asked)

    cache = tmp_path / "cache"
    asked = request(checkpoint, model, mechanisms=("quantise",))
    first = ensure_ladder(asked, build, cache)
    elsewhere = tmp_path / "copy.safetensors"
    elsewhere.write_bytes(checkpoint.read_bytes())
    again = request(elsewhere, model, mechanisms=("quantise",))
    assert ensure_ladder(again, build, cache) == first
    assert len(built) == 1, "content decides, not the place"
    loaded = BuiltLadder.load(first, model, fringe_layers=1)
    assert loaded.table.key == asked.key
    assert [cut.basis.shape for cut in loaded.cuts] == [(4, 4), (8, 8)]
    others = [
        request(checkpoint, model, mechanisms=("width",)),
        request(checkpoint, model, mechanisms=("quantise",), batch=5),
        request(checkpoint, model, mechanisms=("quantise",), calibration_images=65),
    ]
    save_checkpoint(elsewhere, build_model(SPEC).eval())
    others.append(request(elsewhere, model, mechanisms=("quantise",)))
    assert len({asked.key, *(other.key for other in others)}) == 5


def test_a_damaged_ladder_is_told(tmp_path: Path, model: ChainModel) -> None:
    with pytest.raises(BadLadderError, match="no ladder"):
        BuiltLadder.load(tmp_path, model, fringe_layers=1)


def test_a_module_is_a_rung_like_any_other(
    checkpoint: Path, model: ChainModel, module: ModuleFile, tmp_path: Path
) -> None:
    asked = request(checkpoint, model, mechanisms=("distill",), modules=(module,))
    built = build_ladder(asked)
    assert built.table.ladders[0].considered == 2
    assert built.table.ladders[1].considered == 1
    built.save(tmp_path / "ladder")
    Path(module.file).unlink()
    loaded = BuiltLadder.load(tmp_path / "ladder", model, fringe_layers=1)
    (trained,) = loaded.modules
    assert trained.layers_of("decoder") == ("block2_0",) and trained.layers_of("encoder") == ()
    assert any(name.startswith("layers.block2_0.") for name in trained.tensors("decoder"))


CHAIN = SPEC.model_copy(update={"family": "vgg", "downsample": "max"})
CHAIN_CUTS = ("conv1_0", "conv2_0")


@pytest.fixture
def chain(tmp_path: Path) -> tuple[Path, ChainModel]:
    torch.manual_seed(6)
    model, file = build_model(CHAIN).eval(), tmp_path / "chain.safetensors"
    save_checkpoint(file, model)
    return file, model


def chain_ladders(chain: tuple[Path, ChainModel], *mechanisms: str) -> BuiltLadder:
    file, model = chain
    return build_ladder(request(file, model, CHAIN_CUTS, mechanisms=mechanisms))


def test_fewer_channels_cost_less_on_both_sides_as_computed_by_hand(
    chain: tuple[Path, ChainModel],
) -> None:
    built = chain_ladders(chain, "channels")
    (cut, ladder), _ = zip(built.cuts, built.table.ladders, strict=True)
    assert cut.order is not None and sorted(cut.order.tolist()) == [0, 1, 2, 3]
    assert {r.rung.channels for r in ladder.rungs} <= {None, 3, 2, 1} and ladder.considered == 4
    for rung in ladder.rungs:
        k = rung.rung.channels or 4
        assert rung.payload_bytes == 4 * k * 64, "that many channels of 8 x 8 in float32"
        # 3x3 convolutions 4 -> k and k -> 4, each with scale and offset; no biases
        assert rung.fringe.parameters <= 9 * 4 * k + 2 * k + 9 * k * 4 + 2 * 4
        assert rung.fringe.sender_macs == rung.fringe.receiver_macs == 64 * 9 * 4 * k
        assert rung.transfer_bytes == 0


def test_single_weights_alone_show_every_setting_and_change_no_bytes(
    checkpoint: Path, model: ChainModel
) -> None:
    built = build_ladder(request(checkpoint, model, mechanisms=("weights",)))
    for ladder in built.table.ladders:
        assert [r.rung.weights for r in ladder.rungs] == [1.0, 0.75, 0.5, 0.375, 0.25, 0.125]
        assert {r.payload_bytes for r in ladder.rungs} == {ladder.raw_bytes}
        for costs in (
            [r.fringe.parameters for r in ladder.rungs],
            [r.fringe.weight_bytes for r in ladder.rungs],
        ):
            assert costs == sorted(set(costs), reverse=True)
        assert len({r.fringe.sender_macs for r in ladder.rungs}) == 1, "zeros are multiplied too"


def test_a_rung_has_a_lighter_one_beside_it_and_no_crowd(chain: tuple[Path, ChainModel]) -> None:
    plain = chain_ladders(chain, "channels", "quantise").table
    built = chain_ladders(chain, "channels", "quantise", "weights").table
    for alone, ladder in zip(plain.ladders, built.ladders, strict=True):
        heavy = [r for r in ladder.rungs if r.rung.weights == 1]
        light = [r for r in ladder.rungs if r.rung.weights < 1]
        assert [r.name for r in heavy] == [r.name for r in alone.rungs], "none is driven out"
        assert ladder.rungs[0].rung == UNCOMPRESSED and 0 < len(light) <= len(heavy)
        sizes = [r.payload_bytes for r in ladder.rungs]
        assert sizes == sorted(sizes, reverse=True)
        for rung in light:
            same = rung.rung.model_copy(update={"weights": 1.0, "name": ""})
            (beside,) = (r for r in heavy if r.rung.model_copy(update={"name": ""}) == same)
            assert rung.fringe.weight_bytes <= 0.7 * beside.fringe.weight_bytes


def test_a_module_has_to_be_sent_before_the_first_switch_to_it(
    checkpoint: Path, model: ChainModel, module: ModuleFile
) -> None:
    asked = request(checkpoint, model, mechanisms=("distill",), modules=(module,))
    uncompressed, distilled = build_ladder(asked).table.ladders[0].rungs
    assert uncompressed.transfer_bytes == 0
    size = Path(module.file).stat().st_size  # one file with both halves, and what describes them
    assert 0.9 * size < distilled.transfer_bytes < 1.1 * size


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_coded_weights_are_all_there(share: float) -> None:
    torch.manual_seed(7)
    weights = torch.randn(8, 4, 3, 3).where(torch.rand(8, 4, 3, 3) < share, 0)
    payload = coded_weights(weights)
    assert len(payload) <= 4 * weights.count_nonzero() + weights.numel() / 8 + 32
    back = weights_coding(weights).decode(memoryview(bytearray(payload)), (1, weights.numel()))
    assert torch.equal(back.view_as(weights), weights)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"after": "block3_0"}, "no cut after 'block3_0', only after block1_0, block2_0"),
        ({"after": "block2_0"}, r"trained for \(4, 8, 8\), the activation after 'block2_0' is"),
    ],
)
def test_a_module_for_another_cut_is_refused(
    checkpoint: Path,
    model: ChainModel,
    module: ModuleFile,
    changes: dict[str, str],
    reason: str,
) -> None:
    wrong = module.model_copy(update=changes)
    with pytest.raises(BadTargetsError, match=reason):
        build_ladder(request(checkpoint, model, mechanisms=("distill",), modules=(wrong,)))
