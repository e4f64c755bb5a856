"""One short demo on a tiny random backbone, shared by the tests."""

import pytest

from dualcoop.demo.content import demo_classes
from dualcoop.demo.experiment import run_demo
from dualcoop.demo.outcome import DemoOptions
from dualcoop.demo.report import random_exhibits
from dualcoop.methods.dualcoop import DualCoOp
from dualcoop.training import Callback
from tiny import TinyBackbone


class Listener(Callback):
    """Remembers what it hears."""

    def __init__(self):
        self.steps, self.encoded, self.epochs = [], [], []

    def step(self, text):
        self.steps.append(text)

    def encoding(self, done, total):
        self.encoded.append((done, total))

    def epoch(self, row):
        self.epochs.append(row["epoch"])


def tiny_zero_shot():
    backbone = TinyBackbone(name="lite")
    backbone.logit_scale, backbone.logit_bias = 20.0, -4.0
    return DualCoOp.zero_shot("lite", demo_classes(), backbone=backbone)


OPTIONS = DemoOptions(known_fraction=0.5, seeds=(0, 1), epochs=2, train_limit=40, test_limit=12)


@pytest.fixture(scope="session")
def listener():
    return Listener()


@pytest.fixture(scope="session")
def result(listener):
    return run_demo(tiny_zero_shot(), OPTIONS, listener.step, listener)


@pytest.fixture(scope="session")
def exhibits(result):
    return random_exhibits(result, 3)
