"""The precision that an option stands for."""

import pytest
import torch

import dualcoop.devices
from dualcoop.cli.compute import autocast, resolved
from dualcoop.cli.options import ComputeOptions, Precision, TaggingOptions

CPU = torch.device("cpu")


@pytest.mark.parametrize(("fast", "expected"), [(True, Precision.bfloat16), (False, Precision.float32)])
def test_auto_is_bfloat16_where_that_is_fast(monkeypatch, fast, expected):
    monkeypatch.setattr(dualcoop.devices, "fast_bfloat16", lambda device: fast)
    assert resolved(CPU, Precision.auto) is expected


@pytest.mark.parametrize("precision", [Precision.float32, Precision.bfloat16])
def test_a_precision_that_is_named_is_taken(monkeypatch, precision):
    monkeypatch.setattr(dualcoop.devices, "fast_bfloat16", lambda device: precision is Precision.float32)
    assert resolved(CPU, precision) is precision


def test_only_tagging_chooses_for_itself():
    assert TaggingOptions().precision is Precision.auto
    assert ComputeOptions().precision is Precision.float32


def test_bfloat16_is_autocast_and_float32_is_none():
    with autocast(CPU, Precision.bfloat16):
        assert torch.is_autocast_enabled("cpu")
    with autocast(CPU, Precision.float32):
        assert not torch.is_autocast_enabled("cpu")
