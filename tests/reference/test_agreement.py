"""The library's numbers against the slow reference, on a random checkpoint in OpenAI's format."""

from pathlib import Path

import pytest
import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor

from dualcoop.backbones import Backbone, create_backbone
from dualcoop.functional import asymmetric_loss, dual_logits
from reference import slow
from reference.openai_checkpoint import random_state, save_plain

CLASSES = ("dog", "traffic light", "wine glass", "skateboard", "person")
SIZES = (224, 320)
TOLERANCE = 1e-4


def relative_error(got: Tensor, expected: Tensor) -> float:
    got, expected = got.detach().double(), expected.detach().double()
    return float((got - expected).abs().max() / expected.abs().max())


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return random_state(seed=11)


@pytest.fixture(scope="module")
def exact(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same checkpoint in float64, so that only the library's own rounding is measured."""
    return {name: value.double() if value.is_floating_point() else value for name, value in state.items()}


@pytest.fixture(scope="module")
def backbone(state: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Backbone:
    path: Path = tmp_path_factory.mktemp("openai") / "tiny.pt"
    return create_backbone(save_plain(state, path))


@pytest.fixture(scope="module", params=SIZES)
def images(request: pytest.FixtureRequest) -> Tensor:
    return torch.randn(2, 3, request.param, request.param, generator=torch.Generator().manual_seed(3))


@pytest.fixture(params=["shared", "class-specific"])
def contexts(request: pytest.FixtureRequest, backbone: Backbone) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    specific = request.param == "class-specific"

    def draw(tokens: int) -> Tensor:
        shape = (len(CLASSES), tokens) if specific else (tokens,)
        return 0.3 * torch.randn(*shape, backbone.text_width, generator=generator)

    return draw(4), draw(6)


def name_tokens() -> list[list[int]]:
    tokenizer = SimpleTokenizer()
    return [tokenizer.encode(f"{name}.") for name in CLASSES]


def prompts_of(backbone: Backbone, context: Tensor) -> tuple[Tensor, Tensor]:
    """Prompt embeddings of the least length that holds them all, and their end positions."""
    tokens = backbone.tokenize([" ".join(["X"] * context.shape[-2]) + f" {name}." for name in CLASSES])
    ends = backbone.end_positions(tokens)
    embeddings = backbone.embed_tokens(tokens[:, : int(ends.max()) + 1])
    start, stop = backbone.context_start, backbone.context_start + context.shape[-2]
    learned = context.expand(len(CLASSES), -1, -1)
    return torch.cat([embeddings[:, :start], learned, embeddings[:, stop:]], dim=1), ends


def reference_texts(exact: dict[str, Tensor], context: Tensor) -> Tensor:
    return slow.text_features(exact, *slow.prompt_embeddings(exact, name_tokens(), context))


def test_region_features_agree(backbone: Backbone, exact: dict[str, Tensor], images: Tensor) -> None:
    expected = slow.region_features(exact, images.double())
    assert backbone.encode_regions(images).shape == expected.shape
    assert relative_error(backbone.encode_regions(images), expected) < TOLERANCE


def test_pooled_features_agree_at_the_pretrained_size(backbone: Backbone, exact: dict[str, Tensor]) -> None:
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(8))
    expected = slow.pooled_features(exact, images.double())
    assert relative_error(backbone.encode_pooled(images), expected) < TOLERANCE


def test_text_features_of_truncated_prompts_agree_with_all_77_tokens(
    backbone: Backbone, exact: dict[str, Tensor], contexts: tuple[Tensor, Tensor]
) -> None:
    for context in contexts:
        embeddings, ends = prompts_of(backbone, context)
        assert embeddings.shape[1] < backbone.context_length
        got = backbone.encode_prompts(embeddings, ends)
        assert relative_error(got, reference_texts(exact, context.double())) < TOLERANCE


def test_logits_loss_and_both_context_gradients_agree(
    backbone: Backbone, exact: dict[str, Tensor], images: Tensor, contexts: tuple[Tensor, Tensor]
) -> None:
    labels = torch.tensor([[1, -1, 0, -1, 1], [-1, 1, 1, 0, -1]])
    ours = [context.clone().requires_grad_() for context in contexts]
    theirs = [context.double().requires_grad_() for context in contexts]

    texts = [backbone.encode_prompts(*prompts_of(backbone, context)) for context in ours]
    logits = dual_logits(
        backbone.encode_regions(images),
        *texts,
        spatial_scale=backbone.spatial_scale,
        logit_scale=backbone.logit_scale,
        logit_bias=backbone.logit_bias,
    )
    loss = asymmetric_loss(logits, labels, reduction="sum")
    loss.backward()

    expected = slow.head(
        slow.region_features(exact, images.double()), *(reference_texts(exact, context) for context in theirs)
    )
    expected_loss = slow.loss(expected, labels)
    expected_loss.backward()

    assert relative_error(logits.positive, expected.positive) < TOLERANCE
    assert relative_error(logits.negative, expected.negative) < TOLERANCE
    assert relative_error(loss, expected_loss) < TOLERANCE
    for mine, its in zip(ours, theirs, strict=True):
        assert mine.grad is not None
        assert its.grad is not None
        assert float(its.grad.abs().max()) > 1e-3, "the comparison needs gradients that are not negligible"
        assert relative_error(mine.grad, its.grad) < TOLERANCE


def test_normalised_loss_is_the_published_one_divided_by_the_known_pairs(
    backbone: Backbone, exact: dict[str, Tensor], contexts: tuple[Tensor, Tensor]
) -> None:
    labels = torch.tensor([[1, -1, 0, 0, 1]])
    images = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(9))
    texts = [backbone.encode_prompts(*prompts_of(backbone, context)) for context in contexts]
    logits = dual_logits(backbone.encode_regions(images), *texts, spatial_scale=20.0, logit_scale=100.0)
    references = [reference_texts(exact, context.double()) for context in contexts]
    expected = slow.loss(slow.head(slow.region_features(exact, images.double()), *references), labels) / 3
    assert relative_error(asymmetric_loss(logits, labels, reduction="mean"), expected) < TOLERANCE
