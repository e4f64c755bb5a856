"""Options of the learned prompts."""

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from dualcoop.errors import ConfigError
from dualcoop.options import Amount, Counted, Phrase, Whole, check_options, documented, option

if TYPE_CHECKING:
    from dualcoop.backbones.base import Backbone

PROMPTS = "Prompts"
DEFAULT_TOKENS = 16
NEGATIVE_PHRASE = "a photo without a"
_AS_PUBLISHED: dict[str, Any] = {"positive_init": None, "negative_init": None, "absence": "words"}


@documented
@dataclass(frozen=True)
class PromptConfig:
    """What the learned contexts look like and where they start.

    With an initial phrase, N is the phrase's token count unless a token count is given; a larger count puts
    random vectors before the phrase, which then stands directly before the class name. Without a phrase all
    vectors are random and N is 16 unless given.

    Raises:
        ConfigError: for a value that makes no sense.
    """

    prompts: ClassVar[tuple[str, ...]] = ("positive", "negative")
    """Names of the prompts that there can be; each has its options `<name>_tokens` and `<name>_init`."""
    leading: ClassVar[str | None] = None
    """The prompt that gives the weights over regions; see `TextFeatures`."""

    positive_tokens: Counted | None = option(
        None, "N+ of Eq. 1, by default as many tokens as the phrase has.", panel=PROMPTS
    )
    negative_tokens: Counted | None = option(None, "N- of Eq. 2, likewise.", panel=PROMPTS)
    class_specific: bool = option(
        True,
        "Contexts of each class's own, (M, N, W), or one pair shared by all, (N, W), which carries over to new names.",
        panel=PROMPTS,
        flags=("--class-specific/--shared",),
    )
    positive_init: Phrase | None = option(
        "a photo of a",
        "Phrase whose word embeddings the positive context starts from; without one, from random vectors.",
        panel=PROMPTS,
        word_for_none="random",
    )
    negative_init: Phrase | None = option(
        NEGATIVE_PHRASE,
        "The same for the negative context, which then speaks in words.",
        panel=PROMPTS,
        word_for_none="random",
    )
    mode: Literal["dual", "positive", "negative"] = option(
        "dual", "Which prompts are learned; a single one gives rows M2 and M3 of Table 5.", panel=PROMPTS
    )
    init_std: Amount = option(0.02, "Standard deviation of the random vectors, in units of word embeddings.")
    seed: Whole = option(0, "Of the random vectors.")
    full_stop: bool = option(True, "End the prompt with a full stop after the class name.")
    residual: bool | None = option(
        None,
        "Also learn a vector per class and prompt that is added to the text feature, which then reaches places where "
        "no context leads it (task residual: Yu et al., CVPR 2023); by default with class-specific contexts, since "
        "shared ones cannot have it. The paper has none.",
        panel=PROMPTS,
        flags=("--residual/--no-residual",),
    )
    absence: Literal["words", "opposite"] | None = option(
        None,
        "How dual prompts say that a class is absent. In words, as published; or by the opposite of the negative "
        "prompt's text feature, which then starts like the positive one unless it has a phrase of its own, so that "
        "untrained prompts rank as the positive one alone does. By default what suits the backbone, and words where "
        "the negative context has a phrase of its own. A single prompt always speaks in words.",
        panel=PROMPTS,
    )

    def __post_init__(self) -> None:
        check_options(self)
        if self.residual and not self.class_specific:
            raise ConfigError(
                "is True, but shared prompts have no vectors of each class's own",
                option="residual",
                remedy="leave it out",
            )

    @classmethod
    def paper_partial_labels(cls, *, seed: int = 0) -> "PromptConfig":
        """Section 4.1: 16 random vectors of each class's own, positive and negative."""
        return cls(16, 16, class_specific=True, seed=seed, residual=False, **_AS_PUBLISHED)

    @classmethod
    def paper_zero_shot(cls, *, seed: int = 0) -> "PromptConfig":
        """Section 4.2: 64 random vectors shared by all classes, positive and negative."""
        return cls(64, 64, class_specific=False, seed=seed, **_AS_PUBLISHED)

    @property
    def names(self) -> tuple[str, ...]:
        """The prompts in use."""
        return self.prompts if self.mode == "dual" else (self.mode,)

    @property
    def has_residual(self) -> bool:
        """Whether vectors are added to the text features."""
        return self.class_specific if self.residual is None else self.residual

    def for_backbone(self, backbone: "Backbone") -> "PromptConfig":
        """The same with `absence` settled, and the phrase that the negative context then starts from."""
        own_phrase = self.negative_init != NEGATIVE_PHRASE
        config = self
        if config.absence is None:
            absence: Any = "words" if own_phrase else backbone.absence
            config = replace(config, absence=absence)
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
