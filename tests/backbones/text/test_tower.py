"""Text towers run from embeddings: truncation, pooling, construction, refusals."""

from typing import Any

import open_clip
import pytest
import torch
from open_clip.transformer import TextTransformer
from torch import Tensor, nn

from backbones.tiny_models import CLIP_TEXT, EMBED_DIM, assert_towers_agree, tiny_model, tiny_tokenizer
from dualcoop.backbones.text.tower import TextTower
from dualcoop.errors import BackboneError

TEXTS = ["a dog", "three small boats on a lake", "cat"]
LENGTH = CLIP_TEXT["context_length"]


@pytest.fixture(scope="module")
def tokens() -> Tensor:
    return tiny_tokenizer("vit")(TEXTS)


def tower_of(**changes: Any) -> TextTower:
    torch.manual_seed(0)
    tower = TextTower.from_config(EMBED_DIM, {**CLIP_TEXT, **changes})
    for parameter in tower.parameters():
        nn.init.normal_(parameter, std=0.3)
    return tower.eval()


def test_a_causal_tower_gives_the_same_for_cut_and_padded_prompts(tokens: Tensor) -> None:
    tower = tower_of()
    ends = tower.end_positions(tokens)
    shortest = int(ends.max()) + 1
    assert shortest < LENGTH
    whole = tower.token_embedding(tokens).detach().requires_grad_()
    cut = whole.detach()[:, :shortest].clone().requires_grad_()
    full_features, cut_features = tower(whole, ends), tower(cut, ends)
    assert_towers_agree(cut_features, full_features)
    full_features.square().sum().backward()
    cut_features.square().sum().backward()
    assert whole.grad is not None
    assert_towers_agree(cut.grad, whole.grad[:, :shortest])
    assert float(whole.grad[:, shortest:].abs().sum()) == 0


def test_what_stands_behind_the_end_token_does_not_matter(tokens: Tensor) -> None:
    tower = tower_of()
    ends = tower.end_positions(tokens)
    embeddings = tower.token_embedding(tokens).detach()
    changed = embeddings.clone()
    for row, end in enumerate(ends):
        changed[row, end + 1 :] += 5
    assert_towers_agree(tower(changed, ends), tower(embeddings, ends))


def test_a_tower_without_mask_needs_the_padding(tokens: Tensor) -> None:
    tower = tower_of(no_causal_mask=True)
    assert not tower.causal_text
    embeddings = tower.token_embedding(tokens)
    with pytest.raises(BackboneError, match=r"are 9 tokens long, this backbone takes exactly 20. Leave the padding"):
        tower(embeddings[:, :9], tower.end_positions(tokens))


@pytest.mark.parametrize("changes", [{}, {"no_causal_mask": True}])
def test_prompts_beyond_the_context_are_refused(changes: dict[str, Any]) -> None:
    tower = tower_of(**changes)
    embeddings = torch.zeros(1, LENGTH + 1, tower.width)
    with pytest.raises(BackboneError, match=r"21 tokens long.*20"):
        tower(embeddings, torch.tensor([3]))


def test_a_causal_tower_that_pools_the_last_position_may_not_be_cut() -> None:
    assert not tower_of(pool_type="last").causal_text


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"pool_type": "argmax"}, [2, 1]),
        ({"pool_type": "eos", "eos_id": 7}, [1, 3]),
        ({"pool_type": "last"}, [4, 4]),
        ({"pool_type": "first"}, [0, 0]),
    ],
)
def test_end_positions(changes: dict[str, Any], expected: list[int]) -> None:
    tokens = torch.tensor([[3, 7, 9, 7, 0], [3, 9, 0, 7, 0]])
    assert tower_of(**changes).end_positions(tokens).tolist() == expected


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"no_causal_mask": True, "pool_type": "last", "proj_bias": True, "norm_kwargs": {"eps": 1e-3}},
        {"act_kwargs": {"approximate": "tanh"}, "ls_init_value": 0.5, "mlp_ratio": 2.0},
        {"pool_type": "eos", "eos_id": 49407},
    ],
)
def test_a_tower_from_a_config_computes_what_open_clip_does(changes: dict[str, Any], tokens: Tensor) -> None:
    text_cfg = {**CLIP_TEXT, **changes}
    vision_cfg = {"image_size": 32, "layers": 1, "width": 16, "head_width": 16, "patch_size": 16}
    model = open_clip.CustomTextCLIP(EMBED_DIM, vision_cfg, text_cfg).eval()
    tower = TextTower.from_config(EMBED_DIM, text_cfg)
    tower.load_state_dict(model.text.state_dict())
    tower.eval()
    with torch.no_grad():
        got = tower(tower.token_embedding(tokens), tower.end_positions(tokens))
        assert_towers_agree(got, model.encode_text(tokens))


def test_quick_gelu_is_an_option(tokens: Tensor) -> None:
    model = tiny_model("clip_resnet")
    for quick_gelu in (True, False):
        tower = TextTower.from_config(EMBED_DIM, CLIP_TEXT, quick_gelu=quick_gelu)
        tower.load_state_dict(TextTower(model).state_dict())
        with torch.no_grad():
            got = tower.eval()(tower.token_embedding(tokens), tower.end_positions(tokens))
            equal = torch.allclose(got, model.encode_text(tokens), atol=1e-5)
        assert equal == quick_gelu


def test_a_tower_without_projection_has_the_joint_space_of_its_width(tokens: Tensor) -> None:
    tower = tower_of(proj_type="none")
    assert tower.embed_dim == tower.width == CLIP_TEXT["width"]
    embeddings = tower.token_embedding(tokens)
    assert tower(embeddings, tower.end_positions(tokens)).shape == (len(TEXTS), tower.width)


def test_class_embeddings_and_foreign_encoders_are_refused() -> None:
    with pytest.raises(BackboneError, match="not CoCa"):
        TextTower(TextTransformer(width=32, heads=2, layers=1, embed_cls=True))
    with pytest.raises(BackboneError, match="text tower is a Linear"):
        TextTower(nn.Linear(2, 2))
    with pytest.raises(BackboneError, match="pools by 'none'"):
        tower_of(pool_type="none")
