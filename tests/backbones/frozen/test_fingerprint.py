"""The hash of weights and settings."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from dualcoop.backbones.frozen.fingerprint import fingerprint, numerics

TENSORS = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.ones(4), "count": torch.tensor(3)}
CONFIG = {"scale": 20.0, "mean": (0.5, 0.4, 0.3), "kind": "tiny"}
EXPECTED = "ead8111b37186eb69b8ac0dbce8095fdd8273fd7fb964d094d2bf2fceaa24c70"


def test_it_is_the_same_today_and_tomorrow() -> None:
    """A change of this value makes every saved model refuse its backbone."""
    assert fingerprint(TENSORS, CONFIG) == EXPECTED


def test_it_is_the_same_in_another_process() -> None:
    program = (
        "import torch; from dualcoop.backbones.frozen.fingerprint import fingerprint;"
        "print(fingerprint({'w': torch.arange(5.0)}, {'x': 1.5, 'names': ['b', 'a']}))"
    )
    here = fingerprint({"w": torch.arange(5.0)}, {"names": ["b", "a"], "x": 1.5})
    there = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


def test_order_precision_and_memory_layout_do_not_matter() -> None:
    reordered = dict(reversed(TENSORS.items()))
    assert fingerprint(reordered, CONFIG) == EXPECTED
    assert fingerprint({**TENSORS, "b": TENSORS["b"].half()}, CONFIG) == EXPECTED
    assert fingerprint({**TENSORS, "b": TENSORS["b"].bfloat16()}, CONFIG) == EXPECTED
    assert fingerprint({**TENSORS, "b": TENSORS["b"].T.contiguous().T}, CONFIG) == EXPECTED
    assert fingerprint({**TENSORS, "bn.num_batches_tracked": torch.tensor(9)}, CONFIG) == EXPECTED
    assert fingerprint(TENSORS, {**CONFIG, "scale": 20.0 + 1e-9, "mean": [0.5, 0.4, 0.3]}) == EXPECTED


@pytest.mark.parametrize(
    "tensors",
    [
        {**TENSORS, "a": TENSORS["a"] + 1e-6},
        {**TENSORS, "b": TENSORS["b"].reshape(3, 2)},
        {**TENSORS, "count": torch.tensor(4)},
        {**TENSORS, "extra": torch.zeros(0)},
        {"c": TENSORS["b"], "a": TENSORS["a"], "count": TENSORS["count"]},
    ],
)
def test_every_change_of_the_tensors_matters(tensors: dict[str, Tensor]) -> None:
    assert fingerprint(tensors, CONFIG) != EXPECTED


@pytest.mark.parametrize("change", [{"scale": 20.1}, {"kind": "other"}, {"mean": (0.5, 0.4, 0.31)}, {"new": None}])
def test_every_change_of_the_settings_matters(change: dict[str, object]) -> None:
    assert fingerprint(TENSORS, {**CONFIG, **change}) != EXPECTED


def test_numerics_names_activations_epsilons_and_heads() -> None:
    layers = [nn.GELU(), nn.GELU(approximate="tanh"), nn.ReLU(), nn.LayerNorm(4, eps=1e-6), nn.BatchNorm2d(3)]
    found = numerics(nn.ModuleList([*layers, nn.MultiheadAttention(8, 2)]))
    assert found == {
        "activations": ["gelu", "gelu_tanh", "relu"],
        "epsilons": [1e-06, 1e-05],
        "heads": [2],
    }
