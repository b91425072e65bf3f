"""The table of a model is measured once, and says what it lacks."""

from pathlib import Path

import pytest

from controller.keeping.machine import model_of
from controller.split.compute_table import Column, ComputeTable, merged, reference_table
from stage_node.models import ChainModel, ModelSpec, build_model, save_checkpoint

SPEC = ModelSpec(depth=8, width=4, classes=10, in_channels=1, image_size=8)
LAYERS = ("stem", "block1_0", "block2_0", "block3_0", "head")


def column(images: int, **layer_ms: float) -> Column:
    return Column(
        images=images, cpu_model="a cpu", torch_version="2", measured="2026-11-30",
        layer_ms=layer_ms,
    )  # fmt: skip


TABLE = ComputeTable(
    model="m", checkpoint_sha256="cafe", columns=(column(1, a=1.0, b=2.0), column(11, a=6.0, b=2.0))
)


class Stopwatch:
    """Says that every layer takes a millisecond per image, and counts how often it was asked."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, model: ChainModel, images: int) -> dict[str, float]:
        self.asked.append(images)
        return dict.fromkeys(model.layer_names, float(images))


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    save_checkpoint(tmp_path / "m.safetensors", build_model(SPEC))
    return tmp_path / "m.safetensors"


def test_a_table_is_measured_at_one_image_and_at_the_batch_and_once(checkpoint: Path) -> None:
    watch = Stopwatch()
    table = reference_table(checkpoint, 16, watch)
    assert reference_table(checkpoint, 16, watch) == table
    assert reference_table(checkpoint, 4, watch).columns[0] == table.columns[0]
    assert watch.asked == [1, 16, 4]
    assert table.forward_ms(LAYERS[:2]) == {1: 2.0, 16: 32.0}
    assert table.total_ms(8) == pytest.approx(8 * len(LAYERS))


def test_another_checkpoint_is_measured_anew(checkpoint: Path) -> None:
    watch = Stopwatch()
    first = reference_table(checkpoint, 1, watch)
    save_checkpoint(checkpoint, build_model(SPEC))
    assert reference_table(checkpoint, 1, watch).checkpoint_sha256 != first.checkpoint_sha256
    assert watch.asked == [1, 1]


def test_tables_of_one_model_become_one(checkpoint: Path) -> None:
    watch = Stopwatch()
    (table,) = merged(reference_table(checkpoint, batch, watch) for batch in (16, 1, 4))
    assert [each.images for each in table.columns] == [1, 4, 16]
    assert ComputeTable.model_validate_json(table.model_dump_json()) == table


@pytest.mark.parametrize(
    ("layers", "images", "lacks"),
    [
        (("a", "b"), 11, None),
        (("a",), 5, None),
        (("a", "c"), 5, "layer c"),
        (("a",), 12, "batches of 1 to 12 images (it has 1, 11)"),
    ],
)
def test_a_table_says_what_it_lacks(layers: tuple[str, ...], images: int, lacks: str) -> None:
    assert TABLE.missing(layers, images) == lacks
    assert TABLE.layer_ms(6) == {"a": 3.5, "b": 2.0}


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        ("processor\t: 0\nmodel\t\t: 167\nmodel name\t: Intel(R) Xeon(R)\n", "Intel(R) Xeon(R)"),
        ("BogoMIPS\t: 108.00\n\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n",
         "Raspberry Pi 5 Model B Rev 1.0"),
        ("processor\t: 0\n", None),
    ],
)  # fmt: skip
def test_a_processor_or_its_board_has_a_name(cpuinfo: str, name: str | None) -> None:
    assert model_of(cpuinfo) == name
