"""Vision transformers as chains: tokens stay where their patches lay."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from stage_node.errors import BadModelError
from stage_node.models import ModelSpec, build_model

SMALL = ModelSpec(
    family="vit", depth=2, width=8, classes=10, in_channels=1, image_size=8,
    options={"patch": 2, "heads": 2},
)  # fmt: skip


def test_a_block_is_torchs_own_pre_norm_transformer_layer():
    block = build_model(SMALL).layers["block0"].eval()
    twin = nn.TransformerEncoderLayer(
        8, 2, 32, activation=F.gelu, batch_first=True, norm_first=True
    ).eval()
    twin.load_state_dict(
        {
            "self_attn.in_proj_weight": block.qkv.weight,
            "self_attn.in_proj_bias": block.qkv.bias,
            "self_attn.out_proj.weight": block.merge.weight,
            "self_attn.out_proj.bias": block.merge.bias,
            "linear1.weight": block.mlp[0].weight,
            "linear1.bias": block.mlp[0].bias,
            "linear2.weight": block.mlp[2].weight,
            "linear2.bias": block.mlp[2].bias,
            "norm1.weight": block.norm1.weight,
            "norm1.bias": block.norm1.bias,
            "norm2.weight": block.norm2.weight,
            "norm2.bias": block.norm2.bias,
        }
    )
    x = torch.randn(3, 8, 4, 4)
    with torch.no_grad():
        expected = twin(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(x.shape)
        assert torch.allclose(block(x), expected, atol=1e-5)


def test_the_stem_makes_a_token_of_each_patch_and_knows_where_it_was():
    stem = build_model(SMALL).layers["stem"]
    images = torch.randn(1, 1, 8, 8)
    with torch.no_grad():
        tokens = stem(images)
        patch = images[0, 0, 2:4, 6:8].flatten()
        expected = stem.project.weight.flatten(1) @ patch + stem.project.bias
    assert tokens.shape == (1, 8, 4, 4)
    assert torch.allclose(tokens[0, :, 1, 3], expected + stem.position[:, 1, 3], atol=1e-6)


def test_every_layer_but_the_head_gives_channels_and_pixels():
    model = build_model(SMALL)
    assert model.shapes(batch=3) == {
        "stem": (3, 8, 4, 4),
        "block0": (3, 8, 4, 4),
        "block1": (3, 8, 4, 4),
        "head": (3, 10),
    }


def test_macs_count_linear_layers_per_token_and_the_products_of_attention():
    tokens, width = 16, 8
    linears = tokens * (3 + 1 + 4 + 4) * width * width
    attention = 2 * tokens * tokens * width  # scores, and the mixture of the values
    assert build_model(SMALL).macs() == {
        "stem": tokens * width * 2 * 2,
        "block0": linears + attention,
        "block1": linears + attention,
        "head": width * 10,
    }


def test_running_the_segments_one_after_the_other_is_running_the_model():
    model = build_model(SMALL).eval()
    images = torch.randn(2, 1, 8, 8)
    for cut in range(1, len(model.layer_names)):
        front = model.segment(model.layer_names[:cut])
        back = model.segment(model.layer_names[cut:])
        assert torch.equal(back(front(images)), model(images))


def test_any_number_of_blocks_can_be_left_out():
    model = build_model(SMALL)
    assert model.full_configuration == (2,)
    assert model.smallest_configuration == (0,)
    assert model.subset((1,)) == ("stem", "block0", "head")
    assert model.configured((0,))(torch.zeros(1, 1, 8, 8)).shape == (1, 10)


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"options": {"patch": 3}}, "do not tile an image of 8"),
        ({"options": {"heads": 3}}, "3 heads cannot share a width of 8"),
        ({"options": {"heads": 0}}, r"vit \(there are: patch, heads\): heads: .*greater than 0"),
        ({"options": {"stride": 2}}, "stride: Extra inputs"),
        ({"family": "vgg"}, r"family vgg \(there are: none\): "),
    ],
)
def test_nonsense_is_refused_by_name(changed, complaint):
    with pytest.raises(BadModelError, match=complaint):
        build_model(SMALL.model_copy(update=changed))


def test_the_specification_survives_as_json():
    assert ModelSpec.model_validate_json(SMALL.model_dump_json()) == SMALL


def test_a_specification_without_options_is_written_as_it_was_before_there_were_any():
    spec = ModelSpec(depth=8, classes=10, in_channels=1, image_size=8)
    assert "options" not in spec.model_dump_json()
