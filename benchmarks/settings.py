"""The paper's three settings, with random weights: a step's cost does not depend on what has been learned."""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import open_clip
import torch
from torch import Tensor
from torch.nn.functional import normalize

from benchmarks.options import Options
from dualcoop.backbones.base import Backbone
from dualcoop.backbones.loading.open_clip_models import build_open_clip, build_tokenizer, wrap_open_clip
from dualcoop.data.splits import seen_unseen_split
from dualcoop.prompts import PromptConfig

VOC_CLASSES = """
    aeroplane bicycle bird boat bottle bus car cat chair cow dining_table dog horse motorbike person potted_plant
    sheep sofa train tv_monitor
"""
COCO_CLASSES = """
    person bicycle car motorcycle airplane bus train truck boat traffic_light fire_hydrant stop_sign parking_meter
    bench bird cat dog horse sheep cow elephant bear zebra giraffe backpack umbrella handbag tie suitcase frisbee
    skis snowboard sports_ball kite baseball_bat baseball_glove skateboard surfboard tennis_racket bottle wine_glass
    cup fork knife spoon bowl banana apple sandwich orange broccoli carrot hot_dog pizza donut cake chair couch
    potted_plant bed dining_table toilet tv laptop mouse remote keyboard cell_phone microwave oven toaster sink
    refrigerator book clock vase scissors teddy_bear hair_drier toothbrush
"""
KNOWN_FRACTION = 0.5
PRESENT_SHARE = 0.04


@dataclass(frozen=True)
class Setting:
    """One of the paper's training settings.

    Attributes:
        name: for tables.
        backbone: architecture, as open_clip calls it.
        image_size: S, pixels.
        classes: M names.
        prompts: N and whether contexts are class-specific.
        batch_size: B of the published procedure.
        class_sample: classes that the published procedure draws for each step; None takes all.
        voc: the schedule's variant.
        zero_shot: the loss weight's variant.
    """

    name: str
    backbone: str
    image_size: int
    classes: tuple[str, ...]
    prompts: PromptConfig
    batch_size: int
    class_sample: int | None = None
    voc: bool = False
    zero_shot: bool = False

    @property
    def regions(self) -> int:
        """R, with the mean region."""
        return (self.image_size // 32) ** 2 + 1


def voc() -> Setting:
    """VOC 2007, partial labels: 20 classes with 16 vectors of their own."""
    classes = tuple(VOC_CLASSES.split())
    return Setting("VOC 2007", "RN101", 448, classes, PromptConfig.paper_partial_labels(), 8, voc=True)


def coco() -> Setting:
    """COCO, partial labels: 80 classes with 16 vectors of their own."""
    classes = tuple(COCO_CLASSES.split())
    return Setting("COCO", "RN101", 448, classes, PromptConfig.paper_partial_labels(), 32)


def nuswide() -> Setting:
    """NUS-WIDE, zero-shot: 925 classes behind 64 shared vectors, 100 of them drawn for each published step."""
    classes = seen_unseen_split("nuswide-925-81").seen
    prompts = PromptConfig.paper_zero_shot()
    return Setting("NUS-WIDE", "RN50", 224, classes, prompts, 192, class_sample=100, voc=True, zero_shot=True)


def shrunk(setting: Setting) -> Setting:
    """A setting in which everything happens and nothing takes long, to see whether a benchmark runs."""
    drawn = None if setting.class_sample is None else 2
    return replace(setting, image_size=64, classes=setting.classes[:4], batch_size=2, class_sample=drawn)


class Towers(NamedTuple):
    """The same random weights twice: as open_clip's model, and as a frozen backbone of this library."""

    published: Any
    backbone: Backbone


def random_towers(architecture: str, options: Options) -> Towers:
    """Towers of an architecture of OpenAI's, with equal random weights that share no memory; shallow in a trial."""
    config = {**open_clip.get_model_config(architecture), "quick_gelu": True}
    if options.quick:
        config["text_cfg"] = {**config["text_cfg"], "layers": 2}
        config["vision_cfg"] = {**config["vision_cfg"], "layers": [1, 1, 1, 1]}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        published = build_open_clip(config)
    frozen = deepcopy(published)
    backbone = wrap_open_clip(frozen, name=f"{architecture}/random", tokenizer=build_tokenizer(config))
    return Towers(published.to(options.device).eval(), backbone.to(options.device))


def random_pixels(images: int, image_size: int, device: torch.device) -> Tensor:
    """Preprocessed images, (B, 3, S, S), float32."""
    return torch.randn(images, 3, image_size, image_size, generator=torch.Generator().manual_seed(0)).to(device)


def random_regions(images: int, regions: int, embed_dim: int) -> np.ndarray:
    """Region features in one view as the library keeps them, (n, 1, R, D), float16."""
    features = torch.randn(images, 1, regions, embed_dim, generator=torch.Generator().manual_seed(1))
    return normalize(features, dim=-1).half().numpy()


def random_labels(images: int, classes: int, known_fraction: float = KNOWN_FRACTION) -> np.ndarray:
    """Labels (n, M), int8: +1 present, -1 absent, 0 unknown."""
    draw = np.random.default_rng(0)
    labels = np.where(draw.random((images, classes)) < PRESENT_SHARE, 1, -1).astype(np.int8)
    labels[draw.random((images, classes)) >= known_fraction] = 0
    return labels
