import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualcoop.functional import DualLogits, asymmetric_loss
from dualcoop.functional.losses import LOG_FLOOR

seeds = st.integers(0, 2**31 - 1)


def random_case(seed, images=4, classes=5, scale=2.0, known=0.7):
    generator = torch.Generator().manual_seed(seed)
    positive, negative = scale * torch.randn(2, images, classes, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 2, (images, classes), generator=generator) * 2 - 1
    labels[torch.rand(images, classes, generator=generator) > known] = 0
    return positive.requires_grad_(), negative.requires_grad_(), labels


def slow_loss_and_gradient(positive, negative, labels, gamma_positive, gamma_negative, margin):
    """Eq. 7 and 8 pair by pair on Python floats; derivative written out, the focal weight held constant.

    Returns the sum over known pairs, its gradient in the positive logits, and the number of known pairs.
    """
    total, known, gradient = 0.0, 0, torch.zeros_like(positive)
    for i in range(labels.shape[0]):
        for c in range(labels.shape[1]):
            label = labels[i, c].item()
            if label == 0:
                continue
            known += 1
            probability = 1 / (1 + math.exp(negative[i, c].item() - positive[i, c].item()))
            slope = probability * (1 - probability)
            if label == 1:
                weight = (1 - probability) ** gamma_positive
                total -= weight * math.log(max(probability, LOG_FLOOR))
                if probability >= LOG_FLOOR:
                    gradient[i, c] = -weight * slope / probability
            else:
                shifted = max(probability - margin, 0.0)
                total -= shifted**gamma_negative * math.log(max(1 - shifted, LOG_FLOOR))
                if probability > margin:
                    gradient[i, c] = shifted**gamma_negative * slope / (1 - shifted)
    return total, gradient, known


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [0.5, 5.0])
@pytest.mark.parametrize(("gammas", "margin"), [((1.0, 2.0), 0.05), ((0.0, 4.0), 0.0), ((2.0, 1.0), 0.3)])
def test_the_loss_equals_the_loops_in_value_and_gradient(seed, scale, gammas, margin):
    positive, negative, labels = random_case(seed, scale=scale)
    options = {"gamma_positive": gammas[0], "gamma_negative": gammas[1], "margin": margin}
    total, gradient, known = slow_loss_and_gradient(positive, negative, labels, *gammas, margin)
    for reduction, divisor in (("sum", 1), ("mean", known)):
        loss = asymmetric_loss(DualLogits(positive, negative), labels, **options, reduction=reduction)
        assert loss.item() == pytest.approx(total / divisor)
        ours = torch.autograd.grad(loss, (positive, negative))
        torch.testing.assert_close(ours[0], gradient / divisor)
        torch.testing.assert_close(ours[1], -gradient / divisor)


def test_the_defaults_are_the_published_constants_and_the_mean():
    positive, negative, labels = random_case(0)
    total, _, known = slow_loss_and_gradient(positive, negative, labels, 1.0, 2.0, 0.05)
    assert asymmetric_loss(DualLogits(positive, negative), labels).item() == pytest.approx(total / known)


def test_focal_weights_are_constants_for_the_gradient():
    """With the weight inside the derivative the gradient at p = 0.5 would be larger by log(2) / 4."""
    logit = torch.zeros(1, 1, requires_grad=True)
    loss = asymmetric_loss(DualLogits(logit, torch.zeros(1, 1)), torch.ones(1, 1), reduction="sum")
    (gradient,) = torch.autograd.grad(loss, logit)
    assert loss.item() == pytest.approx(0.5 * math.log(2))
    assert gradient.item() == pytest.approx(-0.25)


@given(seed=seeds, gamma=st.floats(0.0, 4.0), margin=st.floats(0.0, 0.4))
@settings(deadline=None)
def test_numeric_derivatives_agree_when_the_weights_are_held(seed, gamma, margin):
    """Central differences of the slow loss with its focal weight frozen at the point."""
    positive, negative, labels = random_case(seed, images=1, classes=1, known=1.0)
    logits = DualLogits(positive, negative)
    options = {"gamma_positive": gamma, "gamma_negative": gamma, "margin": margin}
    (ours,) = torch.autograd.grad(asymmetric_loss(logits, labels, **options), positive)
    probability = torch.sigmoid(positive - negative).item()
    shifted = max(probability - margin, 0.0)
    weight = (1 - probability) ** gamma if labels.item() == 1 else shifted**gamma

    def log_term(logit):
        p = 1 / (1 + math.exp(negative.item() - logit))
        return -math.log(p if labels.item() == 1 else 1 - max(p - margin, 0.0))

    step = 1e-6
    if labels.item() == -1 and abs(probability - margin) < 1e-5:
        return
    numeric = weight * (log_term(positive.item() + step) - log_term(positive.item() - step)) / (2 * step)
    assert ours.item() == pytest.approx(numeric, rel=1e-4, abs=1e-7)


@given(seed=seeds)
@settings(deadline=None)
def test_unknown_labels_neither_cost_nor_learn(seed):
    positive, negative, labels = random_case(seed)
    loss = asymmetric_loss(DualLogits(positive, negative), labels, reduction="sum")
    gradients = torch.autograd.grad(loss, (positive, negative))
    for gradient in gradients:
        assert (gradient[labels == 0] == 0).all()
    moved = torch.where(labels == 0, positive + 3, positive)
    assert asymmetric_loss(DualLogits(moved, negative), labels, reduction="sum").item() == loss.item()


@given(seed=seeds)
@settings(deadline=None)
def test_the_mean_is_the_sum_over_the_number_of_known_pairs(seed):
    positive, negative, labels = random_case(seed)
    logits = DualLogits(positive, negative)
    known = max(int((labels != 0).sum()), 1)
    total, mean = (asymmetric_loss(logits, labels, reduction=reduction) for reduction in ("sum", "mean"))
    torch.testing.assert_close(mean, total / known)


@given(seed=seeds, known=st.sampled_from([0.1, 0.9]))
@settings(deadline=None)
def test_the_mean_does_not_change_when_the_batch_is_repeated(seed, known):
    positive, negative, labels = random_case(seed, known=known)
    once = asymmetric_loss(DualLogits(positive, negative), labels)
    twice = asymmetric_loss(DualLogits(positive.repeat(2, 1), negative.repeat(2, 1)), labels.repeat(2, 1))
    torch.testing.assert_close(once, twice)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_a_batch_without_known_labels_costs_zero_and_has_zero_gradient(reduction):
    positive, negative, labels = random_case(0, known=0.0)
    assert not labels.any()
    loss = asymmetric_loss(DualLogits(positive, negative), labels, reduction=reduction)
    loss.backward()
    assert loss.item() == 0.0
    assert (positive.grad == 0).all()
    assert (negative.grad == 0).all()


@pytest.mark.parametrize(("probability", "costs"), [(0.04, False), (0.06, True)])
def test_absent_labels_below_the_margin_cost_nothing(probability, costs):
    logit = torch.logit(torch.tensor([[probability]])).requires_grad_()
    loss = asymmetric_loss(DualLogits(logit, torch.zeros(1, 1)), -torch.ones(1, 1))
    (gradient,) = torch.autograd.grad(loss, logit)
    assert (loss.item() > 0) == costs
    assert (gradient.item() > 0) == costs


def test_the_logarithm_of_a_hopeless_positive_is_floored():
    logit = torch.tensor([[-50.0]], requires_grad=True)
    loss = asymmetric_loss(DualLogits(logit, torch.zeros(1, 1)), torch.ones(1, 1))
    (gradient,) = torch.autograd.grad(loss, logit)
    assert loss.item() == pytest.approx(-math.log(1e-6))
    assert gradient.item() == 0.0


def test_the_logarithm_of_a_certain_false_alarm_is_floored_without_a_margin():
    logit = torch.tensor([[50.0]])
    loss = asymmetric_loss(DualLogits(logit, torch.zeros(1, 1)), -torch.ones(1, 1), margin=0.0)
    assert loss.item() == pytest.approx(-math.log(1e-6))


@pytest.mark.parametrize("extreme", [1e4, -1e4])
def test_extreme_logits_give_finite_losses_and_gradients(extreme):
    logit = torch.full((1, 3), extreme, requires_grad=True)
    loss = asymmetric_loss(DualLogits(logit, -logit.detach()), torch.tensor([[1, -1, 0]]))
    (gradient,) = torch.autograd.grad(loss, logit)
    assert torch.isfinite(loss)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.int8, torch.int64, torch.float32])
def test_labels_may_have_any_signed_dtype(dtype):
    positive, negative, labels = random_case(0)
    expected = asymmetric_loss(DualLogits(positive, negative), labels)
    assert asymmetric_loss(DualLogits(positive, negative), labels.to(dtype)).item() == expected.item()


def test_another_reduction_is_refused_by_name():
    positive, negative, labels = random_case(0)
    with pytest.raises(ValueError, match="reduction is 'none', expected one of sum, mean"):
        asymmetric_loss(DualLogits(positive, negative), labels, reduction="none")


def test_labels_of_another_shape_are_refused():
    positive, negative, labels = random_case(0)
    with pytest.raises(ValueError, match=r"labels are \(4, 4\), logits are \(4, 5\)"):
        asymmetric_loss(DualLogits(positive, negative), labels[:, 1:])
