import numpy as np
import pytest
import torch

from dualcoop import DualCoOp, PromptConfig
from dualcoop.data.labels import LabelledImages
from dualcoop.training.class_prior import class_log_odds, set_class_bias
from tiny import TinyBackbone

LABELS = np.array([[1, -1, 0], [1, -1, 0], [-1, -1, 0], [1, -1, 0]], dtype=np.int8)


def test_log_odds_follow_the_known_labels_and_fall_back_on_all_classes() -> None:
    shared = (3 + 1) / (8 + 2)
    shares = np.array([(3 + 5 * shared) / 9, 5 * shared / 9, shared])
    np.testing.assert_allclose(class_log_odds(LABELS), np.log(shares / (1 - shares)))


@pytest.mark.parametrize("logit_bias", [0.0, -4.0])
def test_a_logit_bias_is_replaced_and_its_absence_respected(logit_bias: float) -> None:
    data = LabelledImages.from_arrays(["a", "b", "c", "d"], LABELS, ["dog", "cat", "car"])
    model = DualCoOp(TinyBackbone(), data.classes, PromptConfig(), logit_bias=logit_bias)
    regions = model.encode_pixels(torch.randn(2, 3, 32, 32))
    before = model.logits_from_regions(regions)
    set_class_bias(model, data)
    after = model.logits_from_regions(regions)
    moved = torch.from_numpy(class_log_odds(LABELS) - logit_bias).float() if logit_bias else torch.zeros(3)
    torch.testing.assert_close(after.positive - before.positive, moved.expand(2, 3), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(after.negative, before.negative)


def test_new_names_get_the_median_bias() -> None:
    data = LabelledImages.from_arrays(["a", "b", "c", "d"], LABELS, ["dog", "cat", "car"])
    model = DualCoOp(TinyBackbone(), data.classes, PromptConfig(class_specific=False), logit_bias=-4.0)
    set_class_bias(model, data)
    other = model.with_classes(["boat", "cat"])
    torch.testing.assert_close(other.class_bias, torch.stack([model.class_bias.median(), model.class_bias[1]]))
