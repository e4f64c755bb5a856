"""The exported graph and the model it came from give the same probabilities."""

import pytest
import torch

from backbones.tiny_models import tiny_backbone
from dualcoop.backbones.preprocessing import SquashAndNormalise
from dualcoop.export.graph import TaggerGraph
from dualcoop.functional import probabilities
from dualcoop.methods.dualcoop import DualCoOp
from dualcoop.network import MODEL_AGGREGATIONS
from dualcoop.prompts import PromptConfig, TemplateConfig
from export.conftest import tiny_tagger
from tiny import tiny_image


@pytest.mark.parametrize("aggregation", MODEL_AGGREGATIONS)
@pytest.mark.parametrize(
    "prompts",
    [
        PromptConfig(),
        PromptConfig(class_specific=False),
        PromptConfig(mode="positive"),
        PromptConfig(mode="negative"),
        TemplateConfig(negative=None),
    ],
)
def test_module_from_pixels_to_probabilities_is_the_model(aggregation, prompts):
    model = tiny_tagger(prompts=prompts, aggregation=aggregation)
    preprocess = model.backbone.preprocess()
    assert isinstance(preprocess, SquashAndNormalise)
    images = [tiny_image(number, (64, 64)) for number in range(3)]
    pixels = torch.stack([torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8) for image in images])
    with torch.no_grad():
        expected = probabilities(model(torch.stack([preprocess(image) for image in images])))
        found = TaggerGraph(model)(pixels.view(3, 64, 64, 3))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_constants_hold_no_text_tower():
    graph = TaggerGraph(DualCoOp(tiny_backbone("clip_resnet"), ("dog", "cat")))
    text = graph.network.text_features()
    assert torch.equal(graph.positive_text, text["positive"])
    assert torch.equal(graph.negative_text, text["negative"])
    assert not graph.positive_text.requires_grad
