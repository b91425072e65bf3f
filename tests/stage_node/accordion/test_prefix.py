"""A checkpoint of which every completed configuration runs, and nothing damaged ever does."""

import json
import os
import random
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
import safetensors.torch
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open

from stage_node.accordion.prefix import LENGTH_BYTES, CorruptPartError, PrefixError, PrefixReader
from stage_node.accordion.prefix_writer import arrange, encode, write_prefix_checkpoint
from stage_node.models import ModelSpec, build_model, load_checkpoint
from stage_node.repository import REPOSITORY

CHECKPOINTS = REPOSITORY / "testbed" / "checkpoints"
SPEC = ModelSpec(depth=14, width=2, classes=3, in_channels=1, image_size=8, downsample="pool")
LADDER = ((1, 0, 0), (2, 0, 0), (2, 1, 0), (2, 2, 0), (2, 2, 1), (2, 2, 2))
IMAGES = torch.linspace(-1, 1, 4 * 64).view(4, 1, 8, 8)


def seeded_model(spec: ModelSpec = SPEC):
    """A model whose BatchNorms have statistics of their own."""
    torch.manual_seed(5)
    model = build_model(spec).eval()
    for buffer in model.buffers():
        buffer.copy_(torch.rand_like(buffer) + 0.5)
    return model


MODEL = seeded_model()


def file_bytes(statistics=None, ladder=LADDER, model=MODEL) -> bytes:
    metadata = {"spec": model.spec.model_dump_json(), "command": "made by a test"}
    return encode(arrange(model, ladder, statistics or {}), metadata)


WHOLE = file_bytes()


def reader_of(content: bytes) -> PrefixReader:
    reader = PrefixReader()
    reader.feed(content)
    return reader


def test_the_whole_file_is_a_plain_safetensors_file():
    tensors = safetensors.torch.load(WHOLE)
    expected = MODEL.state_dict()
    assert tensors.keys() == expected.keys()
    assert all(torch.equal(tensors[name], expected[name]) for name in expected)


def test_the_library_reads_it_from_disk_and_so_does_the_ordinary_loader(tmp_path):
    path = tmp_path / "m.safetensors"
    write_prefix_checkpoint(path, MODEL, LADDER, {"command": "made by a test"})
    assert path.read_bytes() == WHOLE
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["command"] == "made by a test"
    assert torch.equal(load_checkpoint(path)(IMAGES), MODEL(IMAGES))


def test_input_and_output_layers_come_first_then_the_blocks_as_they_are_added():
    header = reader_of(WHOLE).require_header()
    assert [part.name for part in header.contents.parts] == [
        "input and output", "block1_0", "block1_1", "block2_0", "block2_1", "block3_0", "block3_1",
    ]  # fmt: skip
    first = {n.split(".")[1] for n, p in header.tensors.items()
             if p.data_offsets[1] <= header.contents.parts[0].end}  # fmt: skip
    assert first == {"stem", "head"}
    assert tuple(header.configurations) == LADDER
    assert header.size == len(WHOLE)


def test_every_configuration_runs_with_exactly_its_bytes_and_not_one_less():
    ends = reader_of(WHOLE).require_header().configurations
    for configuration, end in ends.items():
        assert configuration not in reader_of(WHOLE[: end - 1]).completed()
        segment = reader_of(WHOLE[:end]).load(configuration)
        with torch.no_grad():
            assert torch.equal(segment(IMAGES), MODEL.configured(configuration)(IMAGES))


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(0, len(WHOLE)), max_size=12), end=st.integers(0, len(WHOLE)))
def test_however_the_bytes_arrive_the_same_configurations_complete(cuts, end):
    reader = PrefixReader()
    reported = []
    edges = sorted({0, end, *(cut for cut in cuts if cut < end)})
    for begin, stop in pairwise(edges):
        reported += reader.feed(WHOLE[begin:stop])
    assert tuple(reported) == reader.completed() == reader_of(WHOLE[:end]).completed()
    assert reader.received == end
    assert all(reader.require_header().configurations[c] <= end for c in reported)
    if end < len(WHOLE):  # the oracle refuses every file that is cut off
        with pytest.raises(SafetensorError):
            safetensors.torch.load(WHOLE[:end])


@settings(max_examples=60, deadline=None)
@example(position=1, flip=0xF0, step=1000)
@example(position=len(WHOLE) - 1, flip=1, step=len(WHOLE))
@given(position=st.integers(0, len(WHOLE) - 1), flip=st.integers(1, 255), step=st.integers(1, 9000))
def test_one_altered_byte_is_never_run_and_fetching_it_again_heals(position, flip, step):
    altered = bytearray(WHOLE)
    altered[position] ^= flip
    reader = PrefixReader()
    damage = None
    try:
        while reader.received < len(altered):
            reader.feed(altered[reader.received : reader.received + step])
    except CorruptPartError as error:
        damage = error
    if damage is None:  # the header seems to go on beyond the end of the file
        assert position < LENGTH_BYTES and reader.completed() == ()
        return
    assert damage.first_byte == reader.received <= position
    for configuration in reader.completed():
        with torch.no_grad():
            same = reader.load(configuration)(IMAGES) == MODEL.configured(configuration)(IMAGES)
        assert bool(same.all())
    reader.feed(WHOLE[reader.received :])
    assert reader.completed() == LADDER


def test_a_header_that_lies_is_refused():
    length = int.from_bytes(WHOLE[:8], "little")
    document = json.loads(WHOLE[8 : 8 + length])
    document["layers.stem.conv.weight"]["shape"] = [1000, 1000]
    raw = json.dumps(document).encode()
    with pytest.raises(CorruptPartError, match="header"):
        PrefixReader().feed(len(raw).to_bytes(8, "little") + raw)
    with pytest.raises(CorruptPartError, match="too long"):
        PrefixReader().feed((1 << 60).to_bytes(8, "little"))


def test_an_ordinary_safetensors_file_is_no_prefix_checkpoint():
    content = safetensors.torch.save({"x": torch.zeros(3)}, {"spec": "{}"})
    with pytest.raises(PrefixError, match="no header of a prefix-runnable checkpoint"):
        PrefixReader().feed(content)


def test_bytes_past_the_end_are_refused():
    with pytest.raises(PrefixError, match="3 bytes past the end"):
        PrefixReader().feed(WHOLE + b"abc")


def test_what_has_not_arrived_does_not_run():
    reader = reader_of(WHOLE[:-1])
    with pytest.raises(PrefixError, match="not complete yet"):
        reader.load((2, 2, 2))
    with pytest.raises(PrefixError, match="header is not complete after 5 bytes"):
        reader_of(WHOLE[:5]).load((1, 0, 0))


def test_configurations_share_the_weights_that_arrived():
    reader = reader_of(WHOLE)
    small, large = reader.load((1, 0, 0)), reader.load((2, 2, 2))
    key = "layers.block1_0.conv1.weight"
    assert small.state_dict()[key].data_ptr() == large.state_dict()[key].data_ptr()


def test_statistics_of_each_configuration_travel_with_it_and_count():
    ladder = ((1, 1, 1), (2, 2, 2))
    names = {c: [n for n, _ in MODEL.configured(c).named_buffers()] for c in ladder}
    rng = torch.Generator().manual_seed(1)
    buffers = dict(MODEL.named_buffers())
    statistics = {
        c: {n: torch.rand(buffers[n].shape, generator=rng) + 0.5 for n in names[c]} for c in ladder
    }
    content = file_bytes(statistics, ladder)
    reader = reader_of(content)
    for configuration in ladder:
        segment = reader.load(configuration)
        for name, tensor in statistics[configuration].items():
            assert torch.equal(segment.state_dict()[name], tensor)
    ends = reader.require_header().configurations
    assert reader_of(content[: ends[1, 1, 1]]).completed() == ((1, 1, 1),)
    # The whole file, read by the library, is the full configuration.
    plain = safetensors.torch.load(content)
    assert all(torch.equal(plain[n], t) for n, t in statistics[2, 2, 2].items())
    # Only one more tensor is named in the header, which every prefix begins with.
    assert sorted(plain.keys() - MODEL.state_dict().keys()) == ["statistics.1-1-1"]
    extra = sum(t.numel() * 4 for t in statistics[1, 1, 1].values())
    body = sum(t.numel() * 4 for t in MODEL.state_dict().values())
    assert reader.require_header().contents.parts[-1].end == body + extra


def test_statistics_of_another_number_are_refused():
    ladder = ((1, 1, 1), (2, 2, 2))
    statistics = {c: dict(MODEL.configured(c).named_buffers()) for c in ladder}
    parts = arrange(MODEL, ladder, statistics)
    at = next(i for i, part in enumerate(parts) if part.name == "statistics.1-1-1")
    parts[at] = replace(parts[at], tensors={"statistics.1-1-1": torch.zeros(3)})
    reader = reader_of(encode(parts, {"spec": SPEC.model_dump_json()}))
    with pytest.raises(PrefixError, match="3 statistics where there should be 60"):
        reader.load((1, 1, 1))


def test_blocks_that_cannot_be_left_out_come_with_the_first_part():
    model = seeded_model(SPEC.model_copy(update={"downsample": "option-a"}))
    ladder = ((0, 1, 1), (1, 1, 1), (2, 1, 1), (2, 2, 1), (2, 2, 2))
    reader = reader_of(file_bytes(ladder=ladder, model=model))
    assert [part.name for part in reader.require_header().contents.parts] == [
        "input and output", "block1_0", "block1_1", "block2_1", "block3_1",
    ]  # fmt: skip
    shuffled = list(ladder)
    random.Random(0).shuffle(shuffled)
    for configuration in shuffled:
        with torch.no_grad():
            assert torch.equal(
                reader.load(configuration)(IMAGES), model.configured(configuration)(IMAGES)
            )


def test_the_first_configuration_is_loaded_at_once():
    """In a process that has loaded none before: no part of torch is imported for it first."""
    program = "tests.stage_node.accordion.programs.time_first_load"
    file = CHECKPOINTS / "digits-vgg8.safetensors"
    command = [sys.executable, "-m", program, str(file)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    result = subprocess.run(
        command, cwd=REPOSITORY, capture_output=True, text=True, check=True, env=environment
    )
    assert float(result.stdout) < 0.5
