"""How frequent each class is, as a bias of its logit: counted on the known training labels, not learned."""

import numpy as np
import torch

from dualcoop.network import DualCoOpNetwork

PRIOR_LABELS = 5.0


def class_log_odds(labels: np.ndarray) -> np.ndarray:
    """Log-odds of each class being present, (M,), from labels (N, M) in {-1, 0, +1}.

    Each class's share of positives is drawn towards the share of all classes, which counts as 5 labels.
    """
    positives, known = (labels > 0).sum(axis=0), (labels != 0).sum(axis=0)
    shared = (positives.sum() + 1) / (known.sum() + 2)
    share = (positives + PRIOR_LABELS * shared) / (known + PRIOR_LABELS)
    share = np.clip(share, 1e-4, 1 - 1e-4)
    return np.log(share / (1 - share))


def set_class_bias(model: DualCoOpNetwork, labels: np.ndarray) -> None:
    """Put the classes' log-odds among training labels (N, M) in the place of the backbone's constant logit bias.

    The contexts then need not learn how frequent a class is, which they can only do by leaving the region of
    the joint space where names mean something. Without a logit bias (CLIP) nothing changes.
    """
    if model.logit_bias:
        bias = class_log_odds(labels) - model.logit_bias
        model.class_bias.copy_(torch.from_numpy(bias))
