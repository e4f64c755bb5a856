"""Names of devices."""

import pytest
import torch

from dualcoop.backbones.loading.registry import place_backbone
from dualcoop.devices import fast_bfloat16, resolve_device
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


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_fast_on_an_x86_cpu_that_multiplies_it(monkeypatch, native):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native, raising=False)
    assert fast_bfloat16(torch.device("cpu")) is native


def test_bfloat16_is_not_fast_where_torch_cannot_tell(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.delattr(torch.cpu, "_is_avx512_bf16_supported", raising=False)
    assert not fast_bfloat16(torch.device("cpu"))


def test_bfloat16_is_not_fast_on_other_processors_where_torch_cannot_tell(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    monkeypatch.setattr(torch.ops, "mkldnn", object(), raising=False)
    assert not fast_bfloat16(torch.device("cpu"))


def test_bfloat16_is_not_fast_on_other_devices():
    assert not fast_bfloat16(torch.device("mps"))
