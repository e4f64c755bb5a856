"""Every supported family carries the whole method: prompts, logits, gradients."""

import pytest
import torch

from backbones.tiny_models import CONFIGS, random_images, tiny_backbone
from dualcoop.functional import asymmetric_loss
from dualcoop.network import DualCoOpNetwork
from dualcoop.prompts import PromptConfig

CLASSES = ("dog", "cat", "a_b")


@pytest.mark.parametrize("aggregation", ["softmax", "attention"])
@pytest.mark.parametrize("family", CONFIGS)
def test_contexts_learn_on_every_family(family: str, aggregation: str) -> None:
    prompts = PromptConfig(2, 3, positive_init=None, negative_init=None, residual=False)
    model = DualCoOpNetwork(tiny_backbone(family), CLASSES, prompts, aggregation=aggregation)
    contexts = [model.prompts.positive_context, model.prompts.negative_context]
    optimizer = torch.optim.SGD(contexts, lr=0.01)
    labels = torch.tensor([[1, -1, 0], [-1, 1, 1]])
    losses = []
    for _ in range(4):
        loss = asymmetric_loss(model(random_images()), labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(context.grad is not None and bool(context.grad.abs().sum() > 0) for context in contexts)
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]
    learnable = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learnable == {"prompts.positive_context", "prompts.negative_context"}
