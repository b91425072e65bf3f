"""The checkpoints that ship are what their tables and their README say."""

import pytest

from controller.accordion.accuracy import evaluate
from controller.accordion.lookup import read_table
from stage_node.accordion.prefix import PrefixReader
from stage_node.data import load_dataset
from stage_node.models import load_checkpoint
from stage_node.models.checkpoint import read_metadata
from stage_node.repository import REPOSITORY

CHECKPOINTS = REPOSITORY / "testbed" / "checkpoints"
NAMES = ("digits-resnet20", "digits-resnet20-coml", "digits-vgg8", "digits-vit4")


@pytest.mark.parametrize(("name", "least"), list(zip(NAMES, (0.97, 0.97, 0.97, 0.93), strict=True)))
def test_the_full_model_classifies_the_held_out_digits(name, least):
    model = load_checkpoint(CHECKPOINTS / f"{name}.safetensors")
    assert evaluate(model, load_dataset("digits").test) >= least


@pytest.mark.parametrize("name", NAMES)
def test_every_configuration_has_the_accuracy_of_its_table(name):
    path = CHECKPOINTS / f"{name}.safetensors"
    table, reader = read_table(path), PrefixReader()
    reader.feed(path.read_bytes())
    validation = load_dataset("digits").validation
    for entry in table.entries:
        measured = evaluate(reader.load(entry.configuration), validation)
        assert measured == pytest.approx(entry.accuracy, abs=0.005)  # another CPU may round one


def test_the_progressive_network_is_sensible_from_its_first_block_on():
    accuracies = [
        entry.accuracy
        for entry in read_table(CHECKPOINTS / "digits-resnet20-coml.safetensors").entries
    ]
    assert accuracies == sorted(accuracies)
    assert accuracies[0] >= 0.85


@pytest.mark.parametrize("name", NAMES)
def test_the_readme_names_the_command_that_made_it(name):
    readme = " ".join((CHECKPOINTS / "README.md").read_text().replace("\\\n", " ").split())
    assert read_metadata(CHECKPOINTS / f"{name}.safetensors")["command"] in readme
