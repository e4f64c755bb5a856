"""Names of devices."""

import pytest
import torch

from dualcoop.devices import place_backbone, resolve_device
from dualcoop.errors import ConfigError
from tiny import TinyBackbone


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
)
def test_auto_takes_the_fastest_there_is(monkeypatch, cuda, mps, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert resolve_device("auto") == torch.device(expected)


@pytest.mark.parametrize("device", ["gpu", "", "cuda:99", 3.5])
def test_unusable_devices_are_refused_with_what_is_expected(device):
    with pytest.raises(ConfigError, match=r"not usable here .* expected auto, cpu, cuda or mps"):
        resolve_device(device)


def test_given_backbone_stays_where_it_is():
    backbone = TinyBackbone()
    assert place_backbone("anything", backbone) is backbone
    assert place_backbone("anything", backbone, "cpu") is backbone
