"""The exported graph and the model it came from give the same probabilities."""

import pytest
import torch

from dualcoop.export.graph import TaggerGraph
from dualcoop.functional import probabilities
from dualcoop.network import MODEL_AGGREGATIONS
from dualcoop.prompts import PromptConfig, TemplateConfig
from export.conftest import tiny_tagger
from tiny import tiny_image
from tolerances import probability_rounding


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
    images = [tiny_image(number, (64, 64)) for number in range(3)]
    pixels = torch.stack([torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8) for image in images])
    with torch.no_grad():
        expected = probabilities(model(torch.stack([preprocess(image) for image in images])))
        found = TaggerGraph(model)(pixels.view(3, 64, 64, 3))
    bound = probability_rounding(terms=768, layers=17, logit_scale=3.0, regions=5)
    torch.testing.assert_close(found, expected, rtol=0, atol=bound)


def test_the_text_tower_does_not_run_again(monkeypatch):
    model = tiny_tagger()
    graph = TaggerGraph(model)
    monkeypatch.setattr(type(model.backbone), "encode_prompts", None)
    with torch.no_grad():
        assert not graph(torch.zeros(1, 64, 64, 3, dtype=torch.uint8)).requires_grad
