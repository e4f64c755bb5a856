"""One epoch: loss, gradients and batches against slow twins."""

import math

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from coloured import make_model
from dualcoop.errors import ConfigError
from dualcoop.functional import DualLogits
from dualcoop.functional.losses import LOSSES, KnownLoss
from dualcoop.training import TrainingArguments
from dualcoop.training.anchor import Anchor
from dualcoop.training.learnable import learnable_parameters, make_optimizer
from dualcoop.training.steps import run_loss, train_epoch
from tolerances import logit_rounding

RATE = 0.01
LOGIT = logit_rounding(terms=77, layers=8, logit_scale=100.0, regions=17)
"""Between two computations from the same regions; a loss moves by as much, a gradient by this share."""


class Kept:
    """Regions that are at hand; notes the rows of each batch."""

    def __init__(self, regions):
        self.values = regions
        self.batches = []
        self.epochs = []

    def start_epoch(self, epoch):
        self.epochs.append(epoch)

    def regions(self, rows):
        self.batches.append(rows.tolist())
        return self.values[rows]

    @property
    def order(self):
        return [row for batch in self.batches for row in batch]


@pytest.fixture(scope="module")
def regions(train_data):
    return make_model().encode_images(train_data.paths)


def plain_sgd(**options):
    """One epoch of one step of plain SGD, so that contexts move by the gradient times RATE."""
    options = {"epochs": 1, "batch_size": 1000, "optimizer": "sgd", "momentum": 0.0, "gamma_negative": 2.0, **options}
    return TrainingArguments(learning_rate=RATE, **options)


def run_epoch(arguments, regions, labels, *, model=None, anchor=None, epoch=0):
    """Row of the epoch, by how much each context moved, and the batches."""
    model = model or make_model()
    source = Kept(regions)
    before = {name: value.detach().clone() for name, value in model.prompts.named_parameters()}
    with learnable_parameters(model, "none") as learnable:
        optimizer = make_optimizer(arguments, learnable)
        row = train_epoch(model, arguments, optimizer, source, labels, anchor or Anchor(model, 0.0), epoch)
    moved = {name: value.detach() - before[name] for name, value in model.prompts.named_parameters()}
    return row, moved, source


def slow_sum(logits, labels):
    """Eq. 7 and 8 pair by pair, weights detached, summed over the known pairs."""
    total = torch.zeros(())
    for image in range(labels.shape[0]):
        for label in range(labels.shape[1]):
            p = torch.sigmoid(logits.positive[image, label] - logits.negative[image, label])
            if labels[image, label] > 0:
                total = total - (1 - p.detach()) * torch.log(p.clamp(min=1e-6))
            elif labels[image, label] < 0:
                shifted = (p - 0.05).clamp(min=0)
                total = total - shifted.detach() ** 2 * torch.log((1 - shifted).clamp(min=1e-6))
    return total


def slow_gradients(regions, labels, weight):
    model = make_model()
    total = slow_sum(model.logits_from_regions(regions), labels)
    (weight * total).backward()
    return float(total.detach()), {name: value.grad for name, value in model.prompts.named_parameters()}


def assert_same_moves(moved, expected, factor=1.0):
    for name, value in expected.items():
        bound = LOGIT * float((factor * value).abs().max())
        torch.testing.assert_close(moved[name], factor * value, rtol=0, atol=bound)


def test_the_published_step_is_the_sum_over_known_pairs_times_its_weight(regions, train_data):
    total, gradients = slow_gradients(regions, train_data.labels, 0.03)
    row, moved, _ = run_epoch(plain_sgd(reduction="published"), regions, train_data.labels)
    assert_same_moves(moved, gradients, -RATE)
    # The history tells the mean over the known labels in either scale, so that curves can be compared.
    assert row["loss"] == pytest.approx(total / np.count_nonzero(train_data.labels), abs=LOGIT)


def test_the_normalised_step_is_the_mean_over_known_pairs_times_its_weight(regions, train_data):
    known = np.count_nonzero(train_data.labels)
    total, gradients = slow_gradients(regions, train_data.labels, 38.4 / known)
    row, moved, _ = run_epoch(plain_sgd(), regions, train_data.labels)
    assert_same_moves(moved, gradients, -RATE)
    assert row["loss"] == pytest.approx(total / known, abs=LOGIT)


def test_a_normalised_step_is_as_long_with_twice_the_images(regions, train_data):
    _, once, _ = run_epoch(plain_sgd(), regions, train_data.labels)
    twice = torch.cat([regions, regions]), np.concatenate([train_data.labels] * 2)
    _, moved, _ = run_epoch(plain_sgd(), *twice)
    assert_same_moves(moved, once)
    _, published_once, _ = run_epoch(plain_sgd(reduction="published"), regions, train_data.labels)
    _, published_twice, _ = run_epoch(plain_sgd(reduction="published"), *twice)
    assert_same_moves(published_twice, published_once, 2.0)


def test_a_normalised_step_does_not_see_unknown_labels(regions, train_data):
    _, alone, _ = run_epoch(plain_sgd(), regions, train_data.labels)
    diluted = torch.cat([regions, regions]), np.concatenate([train_data.labels, 0 * train_data.labels])
    row, moved, _ = run_epoch(plain_sgd(), *diluted)
    assert_same_moves(moved, alone)
    assert math.isfinite(row["loss"])


@pytest.mark.parametrize("reduction", ["normalised", "published"])
def test_the_anchor_stands_in_the_same_proportion_to_either_loss(regions, train_data, reduction):
    """Moved away from the start, the step with anchor minus the step without is its weighted gradient."""

    def displaced():
        model = make_model()
        anchor = Anchor(model, 3.0)
        with torch.no_grad():
            model.prompts.positive_context.copy_(model.prompts.positive_context.flip(-1))
        return model, anchor

    arguments = plain_sgd(reduction=reduction)
    model, anchor = displaced()
    _, with_anchor, _ = run_epoch(arguments, regions, train_data.labels, model=model, anchor=anchor)
    model, _ = displaced()
    _, without, _ = run_epoch(arguments, regions, train_data.labels, model=model)
    model, anchor = displaced()
    pairs = np.count_nonzero(train_data.labels)
    weight = 38.4 if reduction == "normalised" else 0.03 * pairs
    (weight * anchor.penalty(model.text_features(), None, pairs / 3)).backward()
    expected = {name: value.grad for name, value in model.prompts.named_parameters()}
    difference = {name: with_anchor[name] - without[name] for name in expected}
    for name, value in expected.items():
        # The difference of two steps, of which the larger one's rounding counts.
        bound = LOGIT * float(torch.stack([with_anchor[name], without[name]]).abs().max())
        torch.testing.assert_close(difference[name], -RATE * value, rtol=0, atol=bound)
    assert expected["positive_context"].abs().max() > 1e-4


def test_every_image_comes_once_an_epoch_in_an_order_of_the_seed_and_the_epoch(regions, train_data):
    arguments = plain_sgd(batch_size=4, seed=3, epochs=9)
    orders = []
    for epoch in (0, 1, 0):
        row, _, source = run_epoch(arguments, regions, train_data.labels, epoch=epoch)
        assert [len(batch) for batch in source.batches] == [4, 4, 4, 2]
        assert source.epochs == [epoch]
        assert row["epoch"] == epoch + 1
        orders.append(source.order)
    assert sorted(orders[0]) == list(range(14))
    assert orders[0] == orders[2] != orders[1]
    _, _, other = run_epoch(plain_sgd(batch_size=4, seed=4), regions, train_data.labels)
    assert other.order != orders[0]


def test_a_batch_without_known_labels_takes_no_step(regions, train_data):
    row, moved, source = run_epoch(plain_sgd(), regions, 0 * train_data.labels)
    assert source.batches == []
    assert all(not value.any() for value in moved.values())
    assert math.isnan(row["loss"])


def test_a_class_sample_trains_the_drawn_classes_only(regions, train_data):
    _, moved, _ = run_epoch(plain_sgd(class_sample=2), regions, train_data.labels)
    touched = moved["positive_context"].flatten(1).any(dim=1)
    assert touched.sum() == 2
    labels = train_data.labels.copy()
    labels[:, ~touched.numpy()] = 0
    _, expected, _ = run_epoch(plain_sgd(), regions, labels)
    assert_same_moves(moved, expected)


def test_class_samples_change_from_step_to_step(regions, train_data):
    arguments = plain_sgd(class_sample=1, batch_size=2)
    _, moved, _ = run_epoch(arguments, regions, train_data.labels)
    assert moved["positive_context"].flatten(1).any(dim=1).sum() > 1


def test_the_learning_rate_follows_the_schedule(regions, train_data):
    arguments = plain_sgd(epochs=3, warmup_epochs=1)
    rates = [run_epoch(arguments, regions, train_data.labels, epoch=e)[0]["learning_rate"] for e in range(3)]
    assert rates == pytest.approx([1e-5, RATE, RATE * 0.75])


def test_a_loss_that_is_no_number_stops_the_run_with_advice(regions, train_data):
    model = make_model()
    with torch.no_grad():
        model.prompts.positive_context.fill_(float("nan"))
    with pytest.raises(ConfigError, match=r"the loss is nan in epoch 1: .* learning_rate under 0.01"):
        run_epoch(plain_sgd(), regions, train_data.labels, model=model)


def test_low_precision_is_for_the_text_tower_and_never_for_the_head(regions, train_data, monkeypatch):
    model = make_model()
    seen = []
    encode, head = model.backbone.encode_prompts, model.logits_from_regions

    def encoded(*inputs):
        features = encode(*inputs)
        seen.append(("tower", features.dtype, torch.is_autocast_enabled("cpu")))
        return features

    def judged(regions, index, *, text):
        seen.append(("head", text["positive"].dtype, torch.is_autocast_enabled("cpu")))
        return head(regions, index, text=text)

    monkeypatch.setattr(model.backbone, "encode_prompts", encoded)
    monkeypatch.setattr(model, "logits_from_regions", judged)
    row, moved, _ = run_epoch(plain_sgd(precision="bfloat16"), regions, train_data.labels, model=model)
    assert {(part, low) for part, _, low in seen} == {("tower", True), ("head", False)}
    assert {kind for part, kind, _ in seen if part == "head"} == {torch.float32}
    exact_row, exact, _ = run_epoch(plain_sgd(), regions, train_data.labels)
    assert row["loss"] == pytest.approx(exact_row["loss"], rel=0.15)
    assert row["loss"] != exact_row["loss"]
    for name, value in exact.items():
        cosine = torch.nn.functional.cosine_similarity(moved[name].flatten(), value.flatten(), dim=0)
        assert cosine > 0.98


def test_the_loss_takes_its_constants_from_the_arguments():
    logits = DualLogits(torch.tensor([[0.3, -0.2]]), torch.zeros(1, 2))
    arguments = TrainingArguments(gamma_positive=0.0, gamma_negative=0.0, margin=0.0)
    p = torch.sigmoid(torch.tensor([0.3, -0.2]))
    expected = -(p[0].log() + (1 - p[1]).log()) / 2
    found = run_loss(arguments)(logits, torch.tensor([[1, -1]]))
    assert float(found.mean()) == pytest.approx(float(expected), rel=1e-5)


def test_another_loss_is_one_line_in_the_table(regions, train_data, monkeypatch):
    """Log loss of the known pairs; its constant is an option of the run."""

    def log_loss(*, margin):
        def loss(logits, labels):
            seen.append(margin)
            known = labels != 0
            return KnownLoss(softplus(-labels * (logits.positive - logits.negative))[known].sum(), known.sum())

        return loss

    seen = []
    monkeypatch.setattr("dualcoop.training.steps.LOSSES", {**LOSSES, "log": log_loss})
    arguments = plain_sgd(margin=0.25)
    object.__setattr__(arguments, "loss", "log")
    row, moved, _ = run_epoch(arguments, regions, train_data.labels)
    assert seen == [0.25]
    model, known = make_model(), train_data.labels != 0
    logits = model.logits_from_regions(regions)
    signed = torch.from_numpy(train_data.labels) * (logits.positive - logits.negative)
    total = -torch.nn.functional.logsigmoid(signed)[torch.from_numpy(known)].sum()
    assert row["loss"] == pytest.approx(float(total.detach()) / known.sum(), rel=1e-5)
    (38.4 / known.sum() * total).backward()
    assert_same_moves(moved, {name: value.grad for name, value in model.prompts.named_parameters()}, -RATE)


def test_every_loss_can_be_named_and_its_constants_are_options():
    for name in LOSSES:
        assert callable(run_loss(TrainingArguments(loss=name)))
