"""Options of the learned prompts."""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

from dualcoop.backbones.base import Backbone
from dualcoop.errors import ConfigError

MODES = ("dual", "positive", "negative")
ABSENCES = ("words", "opposite")
DEFAULT_TOKENS = 16
NEGATIVE_PHRASE = "a photo without a"
_AS_PUBLISHED: dict[str, Any] = {"positive_init": None, "negative_init": None, "absence": "words"}


@dataclass(frozen=True)
class PromptConfig:
    """What the learned contexts look like and where they start.

    With an initial phrase, N is the phrase's token count unless a token count is given; a larger count puts
    random vectors before the phrase, which then stands directly before the class name. Without a phrase all
    vectors are random and N is 16 unless given.

    Attributes:
        positive_tokens: N+ of Eq. 1, or None to follow the phrase.
        negative_tokens: N- of Eq. 2, or None to follow the phrase.
        class_specific: contexts of each class's own, (M, N, W); otherwise one pair shared by all, (N, W),
            which carries over to unseen classes.
        positive_init: phrase whose word embeddings the positive context starts from, or None.
        negative_init: the same for the negative context.
        mode: "dual"; "positive" or "negative" learn one prompt only (rows M2 and M3 of Table 5).
        init_std: standard deviation of the random vectors, in units of word embeddings.
        seed: of the random vectors.
        full_stop: end the prompt with a full stop after the class name.
        residual: learn a vector per class and prompt that is added to the text feature, which then reaches places
            where no context leads it (task residual: Yu et al., CVPR 2023). Not part of DualCoOp as published. None
            takes it where contexts are class-specific; shared prompts cannot have it.
        absence: how dual prompts say that a class is absent. "words": the negative prompt says it, as published.
            "opposite": the negative text feature is the opposite of the negative prompt's, which then starts like the
            positive one unless it has a phrase of its own, so that untrained prompts rank as the positive one alone
            does. None takes what suits the backbone (`Backbone.absence`), and words where `negative_init` is given. A
            single prompt always speaks in words.

    Raises:
        ConfigError: for a value that makes no sense.
    """

    positive_tokens: int | None = None
    negative_tokens: int | None = None
    class_specific: bool = True
    positive_init: str | None = "a photo of a"
    negative_init: str | None = NEGATIVE_PHRASE
    mode: str = "dual"
    init_std: float = 0.02
    seed: int = 0
    full_stop: bool = True
    residual: bool | None = None
    absence: str | None = None

    def __post_init__(self) -> None:
        for name in ("positive_tokens", "negative_tokens"):
            value = getattr(self, name)
            if value is not None and (not _is_int(value) or value < 1):
                raise ConfigError(f"{name} is {value!r}, expected a whole number of at least 1, or None")
        for name in ("positive_init", "negative_init"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value.strip()):
                raise ConfigError(f"{name} is {value!r}, expected a phrase, or None for a random start")
        for name in ("class_specific", "full_stop"):
            if not isinstance(getattr(self, name), bool):
                raise ConfigError(f"{name} is {getattr(self, name)!r}, expected True or False")
        if self.residual not in (None, True, False):
            raise ConfigError(f"residual is {self.residual!r}, expected True, False or None")
        if self.residual and not self.class_specific:
            raise ConfigError("residual is True, but shared prompts have no vectors of each class's own: leave it out")
        if self.absence not in (None, *ABSENCES):
            raise ConfigError(f"absence is {self.absence!r}, expected {', '.join(ABSENCES)} or None")
        if self.mode not in MODES:
            raise ConfigError(f"mode is {self.mode!r}, expected one of {', '.join(MODES)}")
        std = self.init_std
        if isinstance(std, bool) or not isinstance(std, int | float) or not 0 <= std < math.inf:
            raise ConfigError(f"init_std is {std!r}, expected a number of at least 0")
        if not _is_int(self.seed) or self.seed < 0:
            raise ConfigError(f"seed is {self.seed!r}, expected a whole number of at least 0")

    @classmethod
    def paper_partial_labels(cls, *, seed: int = 0) -> "PromptConfig":
        """Section 4.1: 16 random vectors of each class's own, positive and negative."""
        return cls(16, 16, class_specific=True, seed=seed, residual=False, **_AS_PUBLISHED)

    @classmethod
    def paper_zero_shot(cls, *, seed: int = 0) -> "PromptConfig":
        """Section 4.2: 64 random vectors shared by all classes, positive and negative."""
        return cls(64, 64, class_specific=False, seed=seed, **_AS_PUBLISHED)

    @property
    def has_residual(self) -> bool:
        """Whether vectors are added to the text features."""
        return self.class_specific if self.residual is None else self.residual

    def for_backbone(self, backbone: Backbone) -> "PromptConfig":
        """The same with `absence` settled, and the phrase that the negative context then starts from."""
        own_phrase = self.negative_init != NEGATIVE_PHRASE
        config = self
        if config.absence is None:
            config = replace(config, absence="words" if own_phrase else backbone.absence)
        if config.negative_is_opposite and not own_phrase:
            config = replace(config, negative_init=config.positive_init)
        return config

    @property
    def negative_is_opposite(self) -> bool:
        """Whether the negative text features are turned round; `absence` has to be settled."""
        return self.absence == "opposite" and self.mode == "dual"

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values; `dualcoop.prompts.prompts_from_dict` reads them back."""
        return {"kind": "learned", **asdict(self)}


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
