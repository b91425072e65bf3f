"""Third-party CIFAR-10 checkpoints run in our chain, and nothing in them is executed."""

from pathlib import Path

import pytest
import torch

from stage_node.errors import BadModelError
from stage_node.models import ModelSpec, akamaster, build_model, load_model
from stage_node.models.files import find_weights

THEIRS = [
    ("layers.stem.conv", "conv1"),
    ("layers.stem.bn", "bn1"),
    ("layers.head.linear", "linear"),
    *[(f"layers.block{i}_", f"layer{i}.") for i in (1, 2, 3)],
]


def their_name(name: str) -> str:
    for ours, theirs in THEIRS:
        if name.startswith(ours):
            return "module." + theirs + name.removeprefix(ours)
    raise AssertionError(name)


def test_a_published_state_dict_runs_as_our_chain(tmp_path):
    model = build_model(ModelSpec(depth=14, classes=10, in_channels=3, image_size=32)).eval()
    theirs = {their_name(name): tensor for name, tensor in model.state_dict().items()}
    theirs["module.bn1.num_batches_tracked"] = torch.tensor(7)
    torch.save({"state_dict": theirs, "best_prec1": 90.0}, tmp_path / "model.th")
    copy = akamaster.read(tmp_path / "model.th")
    images = torch.randn(2, 3, 32, 32)
    assert copy.spec.depth == 14
    assert torch.equal(copy(images), model(images))


@pytest.mark.parametrize("content", [{"state_dict": {"module.fc.weight": torch.zeros(1)}}, {}])
def test_another_file_is_refused(tmp_path, content):
    torch.save(content, tmp_path / "other.th")
    with pytest.raises(BadModelError):
        akamaster.read(tmp_path / "other.th")


def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "resnet20-12fca82f.th")
    with pytest.raises(BadModelError, match="not the file that was published"):
        load_model(tmp_path / "resnet20-12fca82f.th")


def test_weights_are_found_beside_the_data_by_their_published_name(tmp_path, monkeypatch):
    monkeypatch.setenv("CONCERTINA_DATA", str(tmp_path))
    assert find_weights("a.th") is None
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "akamaster_a.th").touch()
    assert find_weights("a.th") == tmp_path / "weights" / "akamaster_a.th"
    (tmp_path / "weights" / "a.th").touch()
    assert find_weights("a.th") == tmp_path / "weights" / "a.th"


def test_code_in_a_file_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "owned",))

    torch.save({"state_dict": Evil()}, tmp_path / "evil.th")
    with pytest.raises(BadModelError):
        akamaster.read(tmp_path / "evil.th")
    assert not (tmp_path / "owned").exists()
