"""Text properties of an exported file, there and back."""

from dataclasses import replace

import pytest

from dualcoop.errors import ConfigError, ModelError
from dualcoop.export.description import TaggerDescription

DESCRIPTION = TaggerDescription(
    classes=("dog", 'a "quoted"; naïve, 犬'),
    thresholds=(0.25, 0.1),
    image_size=320,
    interpolation="bicubic",
    mean=(0.5, 0.5, 0.5),
    std=(0.5, 0.5, 0.5),
    aggregation="softmax",
    backbone="lite",
    backbone_fingerprint="abc",
    finetuned=False,
    precision="float32",
)


def test_properties_are_texts_and_come_back_as_they_were():
    properties = DESCRIPTION.to_properties()
    assert all(isinstance(value, str) and name.startswith("dualcoop.") for name, value in properties.items())
    assert TaggerDescription.from_properties({**properties, "other": "?"}, "t.onnx") == DESCRIPTION


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dualcoop.format": "2"}, r"t\.onnx: the file has format 2, this version of dualcoop reads 1"),
        ({"dualcoop.classes": "[]"}, "the description inside is damaged"),
        ({"dualcoop.classes": "["}, "the description inside is damaged"),
        ({"dualcoop.thresholds": "[0.5]"}, r"damaged \(there are 1 thresholds for 2 classes\)"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_file(change, message):
    with pytest.raises(ModelError, match=message):
        TaggerDescription.from_properties({**DESCRIPTION.to_properties(), **change}, "t.onnx")


def test_a_missing_property_is_named():
    properties = DESCRIPTION.to_properties()
    del properties["dualcoop.image_size"]
    with pytest.raises(ModelError, match=r"dualcoop\.image_size"):
        TaggerDescription.from_properties(properties, "t.onnx")


@pytest.mark.parametrize("change", [{"interpolation": "cubic"}, {"image_size": 0}, {"thresholds": (0.5, float("nan"))}])
def test_impossible_values_are_refused(change):
    with pytest.raises(ConfigError):
        replace(DESCRIPTION, **change)
