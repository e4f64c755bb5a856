"""The precision that an option stands for."""

import pytest
import torch

import dualcoop.devices
from dualcoop.cli.compute import autocast, resolved
from dualcoop.cli.options import ComputeOptions, TaggingOptions

CPU = torch.device("cpu")


@pytest.mark.parametrize(("fast", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_where_that_is_fast(monkeypatch, fast, expected):
    monkeypatch.setattr(dualcoop.devices, "fast_bfloat16", lambda device: fast)
    assert resolved(CPU, "auto") == expected


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_is_named_is_taken(monkeypatch, precision):
    monkeypatch.setattr(dualcoop.devices, "fast_bfloat16", lambda device: precision == "float32")
    assert resolved(CPU, precision) == precision


def test_only_tagging_chooses_for_itself():
    assert TaggingOptions().precision == "auto"
    assert ComputeOptions().precision == "float32"


def test_bfloat16_is_autocast_and_float32_is_none():
    with autocast(CPU, "bfloat16"):
        assert torch.is_autocast_enabled("cpu")
    with autocast(CPU, "float32"):
        assert not torch.is_autocast_enabled("cpu")
