"""The module of tensors: logits, gradients, caching, ablations, thresholds, fine-tuning."""

import copy

import numpy as np
import pytest
import torch

from dualcoop.errors import BackboneError, ConfigError, ModelError
from dualcoop.functional import asymmetric_loss, probabilities
from dualcoop.network import DualCoOpNetwork
from dualcoop.prompts import PromptConfig, TemplateConfig
from tiny import TinyBackbone
from tolerances import assert_agree, logit_rounding

CLASSES = ("dog", "traffic_light", "skateboard", "kite")
SHARED = PromptConfig(class_specific=False)


def network(prompts=None, **options):
    return DualCoOpNetwork(TinyBackbone(), CLASSES, prompts, **options)


@pytest.fixture
def images():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))


@pytest.fixture
def labels():
    return torch.tensor([[1, -1, 0, 1], [-1, -1, 1, 0], [0, 1, -1, -1]])


def assert_logits_agree(found, expected):
    """Of the tiny backbone: words through two layers of four products each, at most 77 summands."""
    bound = logit_rounding(terms=77, layers=8, logit_scale=100.0, regions=17)
    torch.testing.assert_close(found, expected, rtol=0, atol=bound)


def slow_logits(model, images):
    """Eq. 3, 5 and 6 with loops, for one model with both prompts."""
    regions = model.backbone.encode_regions(images)
    positive, negative = model.prompts.text_features(model.backbone).values()
    result = torch.zeros(2, len(images), len(CLASSES))
    for b, image in enumerate(regions):
        for m in range(len(CLASSES)):
            s_plus, s_minus = image @ positive[m], image @ negative[m]
            if model.aggregation == "maximum":
                weights = (s_plus == s_plus.max()).float()
            elif model.aggregation == "average":
                weights = torch.full_like(s_plus, 1 / len(s_plus))
            else:
                weights = torch.exp(20 * s_plus) / torch.exp(20 * s_plus).sum()
            result[0, b, m] = 100 * (weights * s_plus).sum()
            result[1, b, m] = 100 * (weights * s_minus).sum()
    return result


@pytest.mark.parametrize("prompts", [PromptConfig(), SHARED, TemplateConfig()])
@pytest.mark.parametrize("aggregation", ["softmax", "average", "maximum"])
def test_logits_equal_the_equations_written_as_loops(images, prompts, aggregation):
    model = network(prompts, aggregation=aggregation)
    logits = model(images)
    positive, negative = slow_logits(model, images)
    assert_logits_agree(logits.positive, positive)
    assert_logits_agree(logits.negative, negative)


def test_attention_compares_the_backbones_own_pooling_with_the_prompts(images):
    model = network(aggregation="attention")
    pooled = model.backbone.encode_pooled(images)
    positive, negative = model.text_features().values()
    assert_logits_agree(model(images).positive, 100 * pooled @ positive.T)
    assert_logits_agree(model(images).negative, 100 * pooled @ negative.T)
    assert model.encode_pixels(images).shape == (3, 1, 16)


@pytest.mark.parametrize(("mode", "sign"), [("positive", 1), ("negative", -1)])
def test_single_prompt_decides_by_the_sigmoid_of_its_own_logit(images, mode, sign):
    model = network(PromptConfig(mode=mode))
    logits = model(images)
    own = getattr(logits, mode)
    assert float(own.detach().abs().min()) > 0
    assert_agree(probabilities(logits), torch.sigmoid(sign * own), terms=2)


def test_scales_come_from_the_backbone_unless_given(images):
    backbone = TinyBackbone()
    backbone.spatial_scale, backbone.logit_scale, backbone.logit_bias = 7.0, 9.0, -4.0
    model = DualCoOpNetwork(backbone, CLASSES)
    assert (model.spatial_scale, model.logit_scale, model.logit_bias) == (7, 9, -4)
    other = DualCoOpNetwork(backbone, CLASSES, logit_scale=18, logit_bias=0)
    assert other.spatial_scale == 7
    assert_logits_agree(other(images).positive, 2 * (model(images).positive + 4))
    assert_logits_agree(other(images).negative, 2 * model(images).negative)


@pytest.mark.parametrize("prompts", [PromptConfig(), SHARED, PromptConfig(mode="positive")])
@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.AdamW])
def test_only_contexts_get_gradients_and_change(images, labels, prompts, optimizer):
    model = network(prompts, logit_scale=10).train()
    before = copy.deepcopy(model.state_dict())
    learnable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    steps = optimizer(learnable, lr=0.1)
    asymmetric_loss(model(images), labels).backward()
    steps.step()
    contexts = {name for name in before if name.startswith("prompts.")}
    assert contexts == {f"prompts.{name}" for name, _ in model.prompts.named_parameters()}
    assert {name for name, p in model.named_parameters() if p.grad is not None} == contexts
    changed = {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed == contexts
    assert sum(parameter.numel() for parameter in learnable) == model.num_learnable_parameters


def test_training_does_not_move_the_backbones_batch_statistics(images):
    model = network().train()
    before = model.backbone.image_norm.running_mean.clone()
    model(images * 9)
    assert torch.equal(model.backbone.image_norm.running_mean, before)
    assert not model.backbone.image_norm.training


@pytest.mark.parametrize(
    ("prompts", "vectors"),
    [
        (PromptConfig.paper_partial_labels(), 4 * 2 * 16),
        (PromptConfig.paper_zero_shot(), 2 * 64),
        (PromptConfig(3, 8, positive_init=None, residual=False), 4 * 11),
        (TemplateConfig(), 0),
    ],
)
def test_learnable_parameters_are_the_contexts_numbers(prompts, vectors):
    assert network(prompts).num_learnable_parameters == vectors * 24


def test_gradient_reaches_the_pixels(images):
    images.requires_grad_()
    network()(images).positive.sum().backward()
    assert float(images.grad.abs().sum()) > 0


def encodings(model, monkeypatch):
    """Count the text tower's runs."""
    runs = []
    original = model.backbone.encode_prompts
    monkeypatch.setattr(
        model.backbone, "encode_prompts", lambda *given: runs.append(1) or original(*given), raising=True
    )
    return runs


def test_text_features_are_computed_once_without_gradients(monkeypatch):
    model = network()
    runs = encodings(model, monkeypatch)
    with torch.no_grad():
        first, second = model.text_features(), model.text_features()
    assert len(runs) == 2
    assert first["positive"] is second["positive"]


def test_text_features_are_computed_anew_with_gradients(monkeypatch):
    model = network()
    runs = encodings(model, monkeypatch)
    with torch.no_grad():
        model.text_features()
    for _ in range(2):
        assert model.text_features()["positive"].requires_grad
    assert len(runs) == 6


def test_learnable_text_tower_is_never_kept(monkeypatch):
    model = network(TemplateConfig())
    model.unfreeze_backbone("text_projection.weight")
    assert model.text_features()["positive"].requires_grad
    runs = encodings(model, monkeypatch)
    with torch.no_grad():
        model.text_features()
        model.text_features()
    assert len(runs) == 4


def test_templates_are_encoded_once_even_in_training(monkeypatch, images):
    model = network(TemplateConfig()).train()
    runs = encodings(model, monkeypatch)
    model(images)
    model(images)
    assert len(runs) == 2


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.prompts.load_state_dict({k: v * 2 for k, v in m.prompts.state_dict().items()}),
        lambda m: m.prompts.positive_context.mul_(1.5),
        lambda m: setattr(m.prompts, "positive_context", torch.nn.Parameter(m.prompts.positive_context * 2)),
        lambda m: setattr(m, "prompts", network(PromptConfig(positive_init=None)).prompts),
        lambda m: m.prompts.positive_context.data.mul_(1.5),
        lambda m: m.prompts.positive_context.__setattr__("data", m.prompts.positive_context.data * 2),
    ],
)
def test_changed_contexts_are_noticed(change):
    model = network()
    with torch.no_grad():
        stale = model.text_features()["positive"]
        change(model)
        fresh = model.text_features()["positive"]
    assert not torch.allclose(stale, fresh)
    assert_agree(fresh, model.prompts.text_features(model.backbone)["positive"], terms=77, layers=8)


def test_other_templates_are_noticed():
    model = network(TemplateConfig())
    stale = model.text_features()["positive"]
    model.prompts = network(TemplateConfig("{}", None)).prompts
    assert not torch.allclose(stale, model.text_features()["positive"])


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
@pytest.mark.parametrize("options", [{"foreach": True}, {"foreach": False}, {"fused": True}])
def test_optimizer_steps_are_noticed(images, labels, optimizer, options):
    model = network()
    with torch.no_grad():
        stale = model.text_features()["positive"]
    steps = optimizer(model.prompts.parameters(), lr=0.5, **options)
    asymmetric_loss(model(images), labels).backward()
    steps.step()
    with torch.no_grad():
        fresh = model.text_features()["positive"]
    assert not torch.allclose(stale, fresh)


def test_kept_features_serve_where_gradients_are_wanted_later(images):
    model = network(TemplateConfig())
    with torch.inference_mode():
        model.text_features()
    images.requires_grad_()
    model(images).positive.sum().backward()
    assert float(images.grad.abs().sum()) > 0


def test_kept_features_have_full_precision_under_autocast():
    model = network()
    with torch.no_grad():
        expected = network().text_features()["positive"]
        with torch.autocast("cpu", torch.bfloat16):
            kept = model.text_features()["positive"]
    assert torch.equal(kept, expected)


@pytest.mark.parametrize("prompts", [PromptConfig(), SHARED, TemplateConfig(), PromptConfig(mode="negative")])
@pytest.mark.parametrize("gradients", [True, False])
def test_subset_of_classes_gives_their_columns(images, prompts, gradients):
    model = network(prompts)
    subset = torch.tensor([3, 0])
    with torch.set_grad_enabled(gradients):
        regions = model.encode_pixels(images)
        some, every = model.logits_from_regions(regions, subset), model.logits_from_regions(regions)
    assert_logits_agree(some.positive, every.positive[:, subset])
    assert_logits_agree(some.negative, every.negative[:, subset])


def test_regions_kept_in_half_precision_give_nearly_the_same_logits(images):
    model = network()
    regions = model.encode_pixels(images)
    exact, kept = model.logits_from_regions(regions), model.logits_from_regions(regions.half())
    assert kept.positive.dtype == torch.float32
    torch.testing.assert_close(kept.positive, exact.positive, rtol=0.01, atol=0.1)


@pytest.mark.parametrize("shape", [(3, 16), (3, 17, 15), (16,)])
def test_regions_of_another_shape_are_refused(shape):
    with pytest.raises(ModelError, match=r"expected \(B, R, 16\)"):
        network().logits_from_regions(torch.zeros(shape))


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "no classes"),
        ("dog", "classes is the text 'dog', expected a list"),
        (["dog", ""], "class 1 is ''"),
        (["dog", " _ "], "class 1 is ' _ '"),
        (["dog", 3], "class 1 is 3"),
        (["dog", "cat", "dog"], "class 'dog' is given twice"),
        (["hot_dog", "hot dog"], "given as 'hot_dog' and 'hot dog', which make the same prompt"),
    ],
)
def test_senseless_class_names_are_refused(classes, message):
    with pytest.raises(ConfigError, match=message):
        DualCoOpNetwork(TinyBackbone(), classes)


def test_unknown_aggregation_and_image_size_are_refused():
    with pytest.raises(ConfigError, match="aggregation is 'mean', expected one of softmax, average, maximum, att"):
        network(aggregation="mean")
    with pytest.raises(BackboneError, match="image size is 33"):
        network(image_size=33)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.25, [0.25] * 4),
        ([0.1, 0.2, 0.3, 0.4], [0.1, 0.2, 0.3, 0.4]),
        (np.array([0.1, 0.2, 0.3, 0.4]), [0.1, 0.2, 0.3, 0.4]),
        ({"traffic light": 0.9, "kite": 0.1}, [0.5, 0.9, 0.5, 0.1]),
    ],
)
def test_thresholds_are_set_together_singly_or_by_name(given, expected):
    model = network()
    model.set_thresholds(given)
    assert model.thresholds.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ([0.1, 0.2], ConfigError, r"their shape is \(2,\)\), expected one number, 4 numbers"),
        ([[0.1] * 4], ConfigError, r"their shape is \(1, 4\)"),
        (float("nan"), ConfigError, "not finite"),
        ("high", ConfigError, "thresholds are 'high'"),
        ({"kite": "low"}, ConfigError, "'kite': 'low'"),
        ([None] * 4, ConfigError, "None"),
        ({"kit": 0.5}, ModelError, "'kit' is none of the model's 4 classes; near it are 'kite'"),
    ],
)
def test_wrong_thresholds_are_refused_and_change_nothing(given, error, message):
    model = network()
    with pytest.raises(error, match=message):
        model.set_thresholds(given)
    assert model.thresholds.tolist() == [0.5] * 4


def test_unfrozen_backbone_parameters_learn_and_are_remembered(images, labels):
    model = network()
    fingerprint = model.backbone.fingerprint()
    chosen = model.unfreeze_backbone("image_projection.*")
    assert {id(p) for p in chosen} == {id(p) for p in model.backbone.image_projection.parameters()}
    assert model.backbone_delta == {"image_projection.weight", "image_projection.bias"}
    before = model.backbone.image_projection.weight.clone()
    steps = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    asymmetric_loss(model(images), labels).backward()
    steps.step()
    assert not torch.equal(before, model.backbone.image_projection.weight)
    assert model.backbone.fingerprint() != fingerprint
    assert model.backbone_fingerprint() == fingerprint


def test_unfreezing_what_is_not_there_is_refused():
    with pytest.raises(ConfigError, match=r"no parameter of tiny matches 'visual\.\*'"):
        network().unfreeze_backbone(["image_projection.*", "visual.*"])


def test_fine_tuning_behind_the_models_back_is_refused():
    model = network()
    model.backbone_delta.add("image_projection.weight")
    with pytest.raises(ModelError, match="unfreeze_backbone"):
        model.backbone_fingerprint()
