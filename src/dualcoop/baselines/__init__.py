"""What a learned prompt has to beat: classifiers on the same image features and the same known labels."""

from dualcoop.baselines.linear import LinearProbe

__all__ = ["LinearProbe"]
