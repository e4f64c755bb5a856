"""DualCoOp from end to end against the slow reference, on a checkpoint file in OpenAI's format."""

from pathlib import Path

import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from dualcoop.functional import asymmetric_loss, probabilities
from dualcoop.methods.dualcoop import DualCoOp
from dualcoop.prompts import PromptConfig
from reference import slow
from reference.openai_checkpoint import half_precision, random_state, save_torchscript

CLASSES = ("dog", "traffic_light", "wine glass", "person")
LABELS = torch.tensor([[1, -1, 0, -1], [-1, 1, 1, 0]])
TOLERANCE = 1e-4
CONFIGS = {
    "class-specific": PromptConfig.paper_partial_labels(),
    "shared": PromptConfig(5, 7, class_specific=False, init_std=0.3, seed=4),
    "phrases": PromptConfig(),
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    state = half_precision(random_state(seed=21))
    return save_torchscript(state, tmp_path_factory.mktemp("openai") / "RN.pt")


@pytest.fixture(scope="module")
def exact() -> dict[str, Tensor]:
    """What the file holds, rounded to half precision where OpenAI does, in float64."""
    state = half_precision(random_state(seed=21))
    return {name: value.double() if value.is_floating_point() else value for name, value in state.items()}


def relative_error(got: Tensor, expected: Tensor) -> float:
    got, expected = got.detach().double(), expected.detach().double()
    return float((got - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize("size", [224, 320])
@pytest.mark.parametrize("prompts", CONFIGS)
def test_logits_loss_and_context_gradients_agree(prompts: str, size: int, path: Path, exact: dict[str, Tensor]) -> None:
    model = DualCoOp.from_pretrained(path, classes=CLASSES, prompts=CONFIGS[prompts], image_size=size, device="cpu")
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    logits = model(images)
    loss = asymmetric_loss(logits, LABELS, reduction="sum")
    loss.backward()

    tokenizer = SimpleTokenizer()
    names = [tokenizer.encode(f"{name.replace('_', ' ')}.") for name in CLASSES]
    learned = [model.prompts.positive_context, model.prompts.negative_context]
    contexts = [context.detach().double().requires_grad_() for context in learned]
    texts = [slow.text_features(exact, *slow.prompt_embeddings(exact, names, context)) for context in contexts]
    expected = slow.head(slow.region_features(exact, images.double()), *texts)
    expected_loss = slow.loss(expected, LABELS)
    expected_loss.backward()

    assert relative_error(logits.positive, expected.positive) < TOLERANCE
    assert relative_error(logits.negative, expected.negative) < TOLERANCE
    pair = torch.stack([expected.negative, expected.positive])
    assert relative_error(probabilities(logits), torch.softmax(pair, dim=0)[1]) < TOLERANCE
    assert relative_error(loss, expected_loss) < TOLERANCE
    for context, its in zip(learned, contexts, strict=True):
        assert context.shape == its.shape
        assert float(its.grad.abs().max()) > 1e-3, "the comparison needs gradients that are not negligible"
        assert relative_error(context.grad, its.grad) < TOLERANCE
