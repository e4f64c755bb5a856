"""Counted operations against what torch counts in the library's own text path and head."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import floor
from benchmarks.ours import TimedModel, published_arguments
from benchmarks.settings import shrunk, voc
from benchmarks.shares import Parts
from dualcoop import PromptConfig
from dualcoop.backbones.loading.open_clip_models import build_open_clip, build_tokenizer, wrap_open_clip

CONFIG = {
    "embed_dim": 32,
    "quick_gelu": True,
    "vision_cfg": {"layers": [1, 1, 1, 1], "width": 8, "image_size": 64, "patch_size": None, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 3},
}


@pytest.fixture(scope="module")
def backbone():
    return wrap_open_clip(build_open_clip(CONFIG), name="tiny", tokenizer=build_tokenizer(CONFIG))


@pytest.fixture(params=[True, False], ids=["class-specific", "shared"])
def parts(request, backbone):
    prompts = PromptConfig(8, 8, class_specific=request.param, positive_init=None, negative_init=None, residual=False)
    model = TimedModel(backbone, ("dog", "traffic light", "wine glass"), prompts, image_size=64)
    return Parts(model, published_arguments(shrunk(voc())), 2)


def test_the_library_runs_no_fewer_operations_than_are_needed(parts):
    needed = parts.operations()
    assert parts.counted("head") >= needed["head"]
    # The gradient does not go on to the first block's names, which the count of what is needed leaves in.
    assert parts.counted("text") >= 0.8 * needed["text"]


def test_the_library_runs_few_operations_that_are_not_needed(parts):
    assert parts.counted("text") <= 1.5 * parts.operations()["text"]


def test_products_with_weights_are_counted_as_torch_counts_them():
    inputs, weight = torch.randn(5, 7, requires_grad=True), torch.randn(7, 3)
    with FlopCounterMode(display=False) as counter:
        (inputs @ weight).sum().backward()
    assert floor.step_operations(5 * 7 * 3, 0) == counter.get_total_flops()


def test_products_of_two_learned_factors_are_counted_as_torch_counts_them():
    left, right = torch.randn(5, 7, requires_grad=True), torch.randn(7, 3, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        (left @ right).sum().backward()
    assert floor.step_operations(0, 5 * 7 * 3) == counter.get_total_flops()


def test_one_block_over_one_token_is_four_projections_and_the_mlp():
    expected = floor.step_operations(12 * 64**2 + 64 * 32, 2 * 64)
    assert floor.text_operations(width=64, layers=1, embed_dim=32, prefix=0, lengths=[1]) == expected


def test_a_common_prefix_is_computed_once():
    def cost(prompts):
        return floor.text_operations(width=64, layers=3, embed_dim=32, prefix=17, lengths=[3] * prompts)

    alone = floor.text_operations(width=64, layers=3, embed_dim=32, prefix=0, lengths=[20])
    assert cost(11) - cost(10) < 0.5 * alone


def test_prefixes_hold_the_start_token_and_a_shared_context(parts):
    specific = parts._model.prompts.config.class_specific
    assert [prefix for prefix, _ in floor.prompt_lengths(parts._model.prompts)] == [1 if specific else 9] * 2
    # Name, full stop and end token, behind the eight vectors where they are each class's own.
    assert floor.prompt_lengths(parts._model.prompts)[0][1] == [length + 8 * specific for length in (3, 4, 4)]
