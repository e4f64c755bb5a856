"""A prompt more takes a configuration with its options, and nothing else: here one that says where to look.

The evidence prompt gives the weights over regions, and the positive and negative prompts give the logits.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch.nn.functional import cosine_similarity

from backbones.tiny_models import tiny_backbone
from coloured import CLASSES
from dualcoop import DualCoOp, PromptConfig, Trainer, TrainingArguments
from dualcoop.export import OnnxTagger
from dualcoop.functional import aggregated_similarities, asymmetric_loss
from dualcoop.options import Counted, Phrase
from dualcoop.prompts import build_prompts
from dualcoop.training.anchor import Anchor
from tiny import TinyBackbone, tiny_image
from tolerances import assert_agree, logit_rounding

PROMPTS = ("evidence", "positive", "negative")


@dataclass(frozen=True)
class EvidenceConfig(PromptConfig):
    """Three prompts, of which the third leads."""

    prompts: ClassVar[tuple[str, ...]] = ("positive", "negative", "evidence")
    leading: ClassVar[str | None] = "evidence"

    evidence_tokens: Counted | None = 7
    evidence_init: Phrase | None = "look for the"


@pytest.fixture(autouse=True)
def evidence_is_an_option(monkeypatch):
    """What is read from a file is read as this configuration, as if its options stood in `PromptConfig`."""
    monkeypatch.setattr("dualcoop.prompts.building.PromptConfig", EvidenceConfig)


def evidence_model(backbone=None, **options):
    """Random contexts and residuals, so that no two prompts say the same."""
    model = DualCoOp(backbone or TinyBackbone(), CLASSES, EvidenceConfig(**options), logit_scale=10.0)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.prompts.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


@pytest.fixture
def model():
    return evidence_model()


@pytest.fixture
def images():
    return torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))


def assert_logits_agree(found, expected):
    torch.testing.assert_close(
        found, expected, rtol=0, atol=logit_rounding(terms=77, layers=8, logit_scale=10.0, regions=17)
    )


def plain_logits(regions, text):
    """Eq. 5 and 6 with the weights of the evidence."""
    weights = torch.softmax(20 * regions @ text["evidence"].T, dim=1)
    return [10 * (weights * (regions @ text[name].T)).sum(dim=1) for name in ("positive", "negative")]


def test_the_learner_has_all_three_with_the_starts_that_the_two_had():
    two, three = (build_prompts(TinyBackbone(), CLASSES, kind()) for kind in (PromptConfig, EvidenceConfig))
    assert set(three.state_dict()) == {f"{name}_{part}" for name in PROMPTS for part in ("context", "residual")}
    assert three.evidence_context.shape == (3, 7, 24)
    for name, value in two.state_dict().items():
        assert torch.equal(value, three.state_dict()[name])


@pytest.mark.parametrize("class_specific", [True, False])
def test_logits_take_their_weights_from_the_evidence_in_value_and_gradient(images, class_specific):
    model = evidence_model(class_specific=class_specific)
    parameters = list(model.prompts.parameters())
    labels = torch.tensor([[1, -1, 0], [-1, 1, -1], [1, 0, 1]])
    logits = model(images)
    gradients = torch.autograd.grad(asymmetric_loss(logits, labels), parameters)
    slow = plain_logits(model.encode_pixels(images), model.prompts.text_features(model.backbone))
    expected = torch.autograd.grad(asymmetric_loss(type(logits)(*slow), labels), parameters)
    for found, right in zip(logits, slow, strict=True):
        assert_logits_agree(found, right)
    for (name, _), found, right in zip(model.prompts.named_parameters(), gradients, expected, strict=True):
        assert float(found.abs().max()) > 0, name
        # Back through the words, over regions, images and classes.
        assert_agree(found, right, terms=3 * 17, layers=16, scale=10 * float(right.abs().max()))


def test_a_class_sample_gives_its_columns(model, images):
    regions, subset = model.encode_pixels(images), torch.tensor([2, 0])
    with torch.no_grad():
        some, every = model.logits_from_regions(regions, subset), model.logits_from_regions(regions)
    for found, right in zip(some, every, strict=True):
        assert_logits_agree(found, right[:, subset])


def test_the_explanation_is_the_evidence(model):
    image = tiny_image()
    regions = model.encode_images(image)[0, 1:]
    weights = torch.softmax(20 * regions @ model.text_features()["evidence"][1], dim=0)
    np.testing.assert_allclose(model.explain(image, CLASSES[1]).flatten(), weights.detach().numpy(), rtol=1e-3)


def test_a_changed_evidence_context_makes_kept_features_stale(model):
    with torch.no_grad():
        stale = model.text_features()
        model.prompts.evidence_context.mul_(1.5)
        fresh = model.text_features()
    assert torch.equal(fresh["positive"], stale["positive"])
    assert not torch.allclose(fresh["evidence"], stale["evidence"])


def test_a_saved_model_keeps_what_leads_and_runs_no_text_tower(model, images, tmp_path):
    model.save_pretrained(tmp_path)
    loaded = DualCoOp.from_pretrained(tmp_path, backbone=TinyBackbone())
    assert loaded.prompts.config == model.prompts.config
    kept = loaded.kept_text_features()
    assert tuple(kept) == PROMPTS
    with torch.no_grad():
        assert torch.equal(kept.stacked(), model.text_features().stacked())
        for found, right in zip(loaded(images), model(images), strict=True):
            assert torch.equal(found, right)


def test_names_carry_over_with_all_three(images):
    model = evidence_model(class_specific=False)
    with torch.no_grad():
        model.text_features()
    other = model.with_classes(["kite", CLASSES[1]])
    kept, computed = other.kept_text_features(), other.prompts.text_features(other.backbone)
    assert tuple(kept) == tuple(computed) == PROMPTS
    assert_agree(kept.stacked(), computed.stacked().detach(), terms=77, layers=8)


def test_every_prompt_is_pulled_to_its_start_and_resumes_there(model):
    anchor = Anchor(model, 1.0)
    start = model.text_features().mapped(torch.Tensor.detach)
    turned = start.mapped(lambda each: each.flip(-1))
    expected = sum((1 - cosine_similarity(turned[name], start[name])).mean() for name in PROMPTS)
    assert float(anchor.penalty(turned, None, 1.0)) == pytest.approx(float(expected), rel=1e-5)
    later = Anchor(evidence_model(seed=1), 1.0)
    later.restore(anchor.tensors())
    assert later.tensors().keys() == anchor.tensors().keys() == {"anchor.0", "anchor.1", "anchor.2"}
    assert float(later.penalty(start, None, 1.0)) == pytest.approx(0, abs=1e-6)


def test_a_run_moves_the_evidence_and_resumes_exactly(train_data, tmp_path):
    def run(epochs, folder, **options):
        model = evidence_model()
        arguments = TrainingArguments(epochs=epochs, fit_thresholds=False, output_dir=folder, **options)
        Trainer(model, arguments, train=train_data).train()
        return model.prompts.evidence_context.detach()

    whole = run(2, tmp_path / "whole")
    assert not torch.equal(whole, evidence_model().prompts.evidence_context)
    assert torch.equal(run(2, tmp_path / "whole", resume=True), whole)


def test_the_recorded_head_has_all_three(model, images):
    with torch.no_grad():
        regions, text = model.encode_pixels(images), model.text_features()
        plain = model.logits_from_regions(regions, text=text, aggregate=aggregated_similarities)
        for found, right in zip(plain, plain_logits(regions, text), strict=True):
            assert_logits_agree(found, right)


def test_the_exported_file_has_all_three(tmp_path):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason="needs the packages of the extra `export`")
    model = evidence_model(tiny_backbone("clip_resnet"))
    written = model.export_onnx(tmp_path / "tagger.onnx")
    photographs = [tiny_image(number, (64, 64)) for number in range(3)]
    expected = model.predict_proba(photographs)
    without = DualCoOp(model.backbone, CLASSES, PromptConfig(), logit_scale=10.0)
    without.prompts.load_state_dict(model.prompts.state_dict(), strict=False)
    assert np.abs(without.predict_proba(photographs) - expected).max() > 1e-3
    np.testing.assert_allclose(OnnxTagger(written.path).predict_proba(photographs), expected, rtol=0, atol=1e-4)
