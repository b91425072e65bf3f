"""Ladders measured on a small model, cached by content, with a distilled module among the rungs."""

from pathlib import Path

import pytest
import torch

from controller.errors import BadTargetsError
from controller.ladder import LadderTable, ModuleFile
from controller.ladder_builder import build_ladder
from controller.ladder_request import BadLadderError, BuiltLadder, LadderRequest, ensure_ladder
from controller.partition import split_after
from stage_node.bottleneck import Bottleneck, BottleneckSpec, save_bottleneck
from stage_node.models import ChainModel, ModelSpec, build_model, save_checkpoint

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


def request(checkpoint: Path, model: ChainModel, **changes: object) -> LadderRequest:
    fields: dict[str, object] = {
        "checkpoint": checkpoint,
        "dataset": "digits",
        "stages": split_after(model.layer_names, CUTS).stages,
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
