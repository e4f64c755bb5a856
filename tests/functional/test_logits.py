import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualcoop.functional import (
    AGGREGATIONS,
    DualLogits,
    dual_logits,
    logits_of_prompts,
    probabilities,
)

CLIP = {"spatial_scale": 20.0, "logit_scale": 100.0}
seeds = st.integers(0, 2**31 - 1)


def unit_vectors(generator, *shape, dtype=torch.float64):
    vectors = torch.randn(*shape, generator=generator, dtype=dtype)
    return vectors / vectors.norm(dim=-1, keepdim=True)


def random_case(seed, images=2, regions=5, classes=3, dimension=8, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return (
        unit_vectors(generator, images, regions, dimension, dtype=dtype),
        unit_vectors(generator, classes, dimension, dtype=dtype),
        unit_vectors(generator, classes, dimension, dtype=dtype),
    )


def slow_dot(first, second):
    return sum(a * b for a, b in zip(first, second, strict=True))


def slow_dual_logits(
    regions, positive_text, negative_text, leading_text, spatial_scale, logit_scale, logit_bias, aggregation
):
    """Eq. 3, 5 and 6 image by image, class by class and region by region, on single numbers."""
    positive, negative = [], []
    for image in regions:
        for class_index in range(len(positive_text)):
            positive_cosines = [slow_dot(region, positive_text[class_index]) for region in image]
            negative_cosines = [slow_dot(region, negative_text[class_index]) for region in image]
            leading_cosines = [slow_dot(region, leading_text[class_index]) for region in image]
            if aggregation == "softmax":
                exponentials = [torch.exp(spatial_scale * cosine) for cosine in leading_cosines]
                weights = [value / sum(exponentials) for value in exponentials]
            elif aggregation == "average":
                weights = [1 / len(image)] * len(image)
            else:
                best = max(range(len(image)), key=lambda r, cosines=leading_cosines: cosines[r].item())
                weights = [float(r == best) for r in range(len(image))]
            positive.append(logit_scale * slow_dot(weights, positive_cosines) + logit_bias)
            negative.append(logit_scale * slow_dot(weights, negative_cosines))
    shape = len(regions), len(positive_text)
    return torch.stack(positive).reshape(shape), torch.stack(negative).reshape(shape)


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("bias", [0.0, -4.0])
@pytest.mark.parametrize("third", [False, True], ids=["two prompts", "a third leads"])
@pytest.mark.parametrize("seed", range(3))
def test_dual_logits_equal_the_loops_in_value_and_gradient(aggregation, bias, third, seed):
    inputs = [tensor.requires_grad_() for tensor in random_case(seed)]
    if third:
        inputs.append(random_case(seed + 1)[1].requires_grad_())
    fast = dual_logits(*inputs[:3], **CLIP, logit_bias=bias, aggregation=aggregation, leading_text=(*inputs, None)[3])
    slow = slow_dual_logits(*inputs[:3], inputs[-1] if third else inputs[1], 20.0, 100.0, bias, aggregation)
    torch.testing.assert_close(fast.positive, slow[0])
    torch.testing.assert_close(fast.negative, slow[1])
    generator = torch.Generator().manual_seed(seed)
    upstream = torch.randn(2, *slow[0].shape, dtype=torch.float64, generator=generator)
    gradients = [
        torch.autograd.grad(
            (torch.stack(tuple(pair)) * upstream).sum(), inputs, allow_unused=True, materialize_grads=True
        )
        for pair in (fast, slow)
    ]
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("aggregation", ["softmax", "average"])
def test_gradients_pass_the_numeric_check(aggregation):
    inputs = [tensor.requires_grad_() for tensor in random_case(0)]

    def probability(*tensors):
        logits = dual_logits(*tensors, spatial_scale=3.0, logit_scale=4.0, aggregation=aggregation)
        return probabilities(logits)

    assert torch.autograd.gradcheck(probability, inputs)


@given(seed=seeds, aggregation=st.sampled_from(AGGREGATIONS), data=st.data())
@settings(deadline=None)
def test_the_order_of_regions_does_not_matter(seed, aggregation, data):
    regions, positive, negative = random_case(seed)
    order = data.draw(st.permutations(range(regions.shape[1])))
    expected = dual_logits(regions, positive, negative, **CLIP, aggregation=aggregation)
    permuted = dual_logits(regions[:, list(order)], positive, negative, **CLIP, aggregation=aggregation)
    torch.testing.assert_close(permuted.positive, expected.positive)
    torch.testing.assert_close(permuted.negative, expected.negative)


@given(seed=seeds)
@settings(deadline=None)
def test_the_average_is_the_softmax_at_spatial_scale_zero_and_the_mean(seed):
    regions, positive, negative = random_case(seed)
    average = dual_logits(regions, positive, negative, **CLIP, aggregation="average")
    flat = dual_logits(regions, positive, negative, spatial_scale=0.0, logit_scale=100.0)
    torch.testing.assert_close(average.positive, flat.positive)
    torch.testing.assert_close(average.negative, 100 * (regions @ negative.T).mean(dim=1))


@given(seed=seeds)
@settings(deadline=None)
def test_the_probability_is_a_softmax_over_the_two_logits(seed):
    positive, negative = 10 * torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(seed))
    expected = torch.softmax(torch.stack([negative, positive]), dim=0)[1]
    torch.testing.assert_close(probabilities(DualLogits(positive, negative)), expected)


def test_the_probability_of_extreme_logits_is_finite():
    logits = DualLogits(torch.tensor([[1e4, -1e4, 0.0]]), torch.tensor([[-1e4, 1e4, 0.0]]))
    assert probabilities(logits).tolist() == [[1.0, 0.0, 0.5]]


def test_the_negative_logit_uses_the_weights_of_the_positive_one():
    """Two regions: the first matches the positive text, the second matches the negative text."""
    regions = torch.eye(2)[None]
    logits = dual_logits(regions, torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), **CLIP)
    assert logits.positive.item() == pytest.approx(100.0)
    assert logits.negative.item() == pytest.approx(0.0, abs=1e-4)


def test_one_region_gives_scaled_cosines():
    regions, positive, negative = random_case(0, regions=1)
    for aggregation in AGGREGATIONS:
        logits = dual_logits(regions, positive, negative, **CLIP, aggregation=aggregation)
        torch.testing.assert_close(logits.positive, 100 * regions[:, 0] @ positive.T)
        torch.testing.assert_close(logits.negative, 100 * regions[:, 0] @ negative.T)


def test_the_bias_moves_the_positive_logit_only():
    case = random_case(0)
    plain, biased = dual_logits(*case, **CLIP), dual_logits(*case, **CLIP, logit_bias=-4.0)
    torch.testing.assert_close(biased.positive, plain.positive - 4)
    torch.testing.assert_close(biased.negative, plain.negative)


@pytest.mark.parametrize("bias", [0.0, -4.0])
def test_the_positive_prompt_alone_is_a_sigmoid_of_its_logit(bias):
    regions, positive, negative = random_case(0)
    logits = dual_logits(regions, positive, None, **CLIP, logit_bias=bias)
    both = dual_logits(regions, positive, negative, **CLIP, logit_bias=bias)
    torch.testing.assert_close(logits.positive, both.positive)
    torch.testing.assert_close(probabilities(logits), torch.sigmoid(logits.positive))


def test_the_negative_prompt_alone_weighs_its_own_regions_and_lowers_the_probability():
    regions, _, negative = random_case(0)
    logits = dual_logits(regions, None, negative, **CLIP, logit_bias=-4.0)
    torch.testing.assert_close(logits.negative, dual_logits(regions, negative, None, **CLIP).positive)
    torch.testing.assert_close(probabilities(logits), torch.sigmoid(-4.0 - logits.negative))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_shapes_and_dtypes_are_kept(dtype, aggregation):
    logits = dual_logits(*random_case(0, images=3, classes=4, dtype=dtype), **CLIP, aggregation=aggregation)
    assert [(t.shape, t.dtype) for t in logits] == [((3, 4), dtype)] * 2


@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_a_prompt_that_does_not_lead_and_has_no_logit_changes_nothing(aggregation):
    regions, *texts = random_case(0)
    named = dict(zip(("positive", "negative"), texts, strict=True))
    two, three = (
        logits_of_prompts(regions, prompts, **CLIP, aggregation=aggregation)
        for prompts in (named, {**named, "evidence": texts[0].roll(1)})
    )
    torch.testing.assert_close(three.positive, two.positive)
    torch.testing.assert_close(three.negative, two.negative)


def test_an_unknown_aggregation_is_refused_by_name():
    with pytest.raises(ValueError, match="'median', expected one of softmax, average, maximum"):
        dual_logits(*random_case(0), **CLIP, aggregation="median")


def test_neither_prompt_is_refused():
    with pytest.raises(ValueError, match="got neither"):
        dual_logits(*random_case(0)[:1], None, None, **CLIP, leading_text=random_case(0)[1])
