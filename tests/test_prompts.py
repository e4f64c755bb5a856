"""Learned contexts and templates: layout, initial values, truncation, gradients."""

import json
import re
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import normalize

from backbones.tiny_models import tiny_backbone
from dualcoop.class_names import normalise_name
from dualcoop.errors import ConfigError
from dualcoop.prompts import (
    PromptConfig,
    PromptLayout,
    PromptLearner,
    TemplateConfig,
    TemplatePrompts,
    build_prompts,
    prompts_from_dict,
)
from tiny import TinyBackbone
from tolerances import assert_agree

CLASSES = ("dog", "traffic_light", "skateboard")
CONFIGS = (
    PromptConfig(),
    PromptConfig(class_specific=False, mode="negative", negative_tokens=7, full_stop=False, seed=3),
    PromptConfig.paper_partial_labels(),
    PromptConfig.paper_zero_shot(seed=2),
    TemplateConfig(),
    TemplateConfig("{}", ("no {}.", "without {}.")),
    TemplateConfig.contextless(),
)


def assert_features_agree(found, expected):
    """Text features and their gradients: two layers of four products each, at most 77 summands."""
    assert_agree(found, expected, terms=77, layers=8)


@pytest.fixture(scope="module")
def backbone():
    return TinyBackbone()


@pytest.mark.parametrize("config", CONFIGS)
def test_configuration_survives_json(config):
    assert prompts_from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"positive_tokens": 0}, "positive_tokens is 0"),
        ({"negative_tokens": 2.5}, r"negative_tokens is 2\.5"),
        ({"positive_tokens": True}, "positive_tokens is True"),
        ({"positive_init": "  "}, "positive_init"),
        ({"negative_init": 3}, "negative_init is 3"),
        ({"class_specific": "yes"}, "class_specific is 'yes'"),
        ({"full_stop": 1}, "full_stop is 1"),
        ({"mode": "both"}, "mode is 'both', expected one of dual, positive, negative"),
        ({"init_std": -0.1}, r"init_std is -0\.1"),
        ({"init_std": float("nan")}, "init_std is nan"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_senseless_values_are_refused_by_name(values, message):
    with pytest.raises(ConfigError, match=message):
        PromptConfig(**values)


@pytest.mark.parametrize("templates", ["a photo", "{} and {}", (), 3, ("{}", "x")])
def test_templates_need_exactly_one_place_for_the_name(templates):
    with pytest.raises(ConfigError, match=r"positive (is|holds)"):
        TemplateConfig(templates)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "soft"}, "kind 'soft'"),
        ({}, "kind None"),
        ({"kind": "learned", "tokens": 4}, "unknown options tokens"),
        ({"kind": "templates", "seed": 4}, "unknown options seed"),
    ],
)
def test_unknown_saved_prompts_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        prompts_from_dict(values)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("traffic_light", "traffic light"),
        ("  hot \t dog\n", "hot dog"),
        ("T-shirt", "T-shirt"),
        ("__a__b__", "a b"),
        ("Zürich", "Zürich"),
    ],
)
def test_names_lose_underscores_and_extra_space_only(name, expected):
    assert normalise_name(name) == expected


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("class_specific", [True, False])
def test_phrase_start_equals_the_plain_sentence(causal, class_specific):
    backbone = TinyBackbone(causal=causal)
    learner = PromptLearner(backbone, CLASSES, PromptConfig(class_specific=class_specific))
    features = learner.text_features(backbone)
    names = ("dog", "traffic light", "skateboard")
    assert_features_agree(features["positive"], backbone.encode_text([f"a photo of a {name}." for name in names]))
    assert_features_agree(features["negative"], backbone.encode_text([f"a photo without a {name}." for name in names]))


def test_phrase_start_without_full_stop_equals_the_sentence_without_it(backbone):
    learner = PromptLearner(backbone, ["dog"], PromptConfig(full_stop=False))
    expected = backbone.encode_text(["a photo of a dog"])
    assert_features_agree(learner.text_features(backbone)["positive"], expected)


@pytest.mark.parametrize("causal", [True, False])
def test_context_stands_between_start_token_and_name(causal):
    backbone = TinyBackbone(causal=causal)
    learner = PromptLearner(backbone, CLASSES, PromptConfig(5, 3, positive_init=None, negative_init=None))
    tokens = backbone.tokenize(["dog.", "traffic light.", "skateboard."])
    words = backbone.embed_tokens(tokens)
    start = backbone.context_start
    for polarity, count in (("positive", 5), ("negative", 3)):
        embeddings, ends = learner.embeddings(polarity)
        context = getattr(learner, f"{polarity}_context")
        assert context.shape == (3, count, backbone.text_width)
        assert torch.equal(embeddings[:, start : start + count], context)
        assert torch.equal(embeddings[:, :start], words[:, :start])
        behind = embeddings[:, start + count :]
        assert torch.equal(behind, words[:, start : start + behind.shape[1]])
        expected_ends = backbone.end_positions(tokens) + count if causal else torch.full((3,), 76)
        assert torch.equal(ends, expected_ends)
        assert embeddings.shape[1] == (int(expected_ends.max()) + 1 if causal else 77)


def test_sixteen_tokens_by_default_without_phrase(backbone):
    learner = PromptLearner(backbone, CLASSES, PromptConfig(positive_init=None))
    assert learner.positive_context.shape == (3, 16, backbone.text_width)
    assert learner.negative_context.shape == (3, 6, backbone.text_width)


@pytest.mark.parametrize(
    ("config", "tokens"),
    [
        (PromptConfig.paper_partial_labels(), 3 * 2 * 16),
        (PromptConfig.paper_zero_shot(), 2 * 64),
    ],
)
def test_paper_settings_have_the_published_number_of_vectors(backbone, config, tokens):
    learner = PromptLearner(backbone, CLASSES, config)
    assert sum(p.numel() for p in learner.parameters()) == tokens * backbone.text_width
    random = torch.cat([p.detach().flatten() for p in learner.parameters()])
    assert 0.017 < float(random.std()) < 0.023


def test_spare_tokens_are_random_and_the_phrase_stays_before_the_name(backbone):
    learner = PromptLearner(backbone, CLASSES, PromptConfig(positive_tokens=7))
    phrase = PromptLearner(backbone, CLASSES, PromptConfig()).positive_context
    assert phrase.shape[1] == 5
    assert torch.equal(learner.positive_context[:, 2:], phrase)
    leading = learner.positive_context[:, :2]
    assert 0 < float(leading.detach().abs().max()) < 0.02 * 6
    assert not torch.equal(leading[0], leading[1])


def test_phrase_longer_than_the_context_is_refused(backbone):
    with pytest.raises(ConfigError, match="positive_tokens is 3, but the phrase 'a photo of a' has 5 tokens"):
        PromptLearner(backbone, CLASSES, PromptConfig(positive_tokens=3))


def test_same_seed_same_start_and_another_seed_another(backbone):
    def start(**values):
        config = PromptConfig(positive_init=None, negative_init=None, **values)
        return PromptLearner(backbone, CLASSES, config)

    assert torch.equal(start(seed=1).positive_context, start(seed=1).positive_context)
    assert not torch.equal(start(seed=1).positive_context, start(seed=2).positive_context)
    assert not torch.equal(start().positive_context, start().negative_context)
    assert torch.equal(start().negative_context, start(mode="negative").negative_context)


@pytest.mark.parametrize(
    ("build", "name"),
    [
        (
            lambda b: PromptLearner(b, ["dog", "extraordinarily long name"], PromptConfig(12, positive_init=None)),
            "extraordinarily long name",
        ),
        (
            lambda b: TemplatePrompts(
                b,
                ["dog", "a much too_long name"],
                TemplateConfig("one two three four five six seven eight nine ten {}"),
            ),
            "a much too_long name",
        ),
    ],
)
def test_prompt_that_does_not_fit_names_the_class(build, name):
    with pytest.raises(ConfigError, match=f"class '{name}' does not fit into the 16 tokens of tiny"):
        build(TinyBackbone(context_length=16))


def test_phrase_that_does_not_fit_is_refused():
    with pytest.raises(ConfigError, match="phrase 'one two three of a'"):
        PromptLearner(TinyBackbone(context_length=6), ["dog"], PromptConfig(positive_init="one two three of a"))


def test_tokenizer_that_joins_placeholders_is_refused(backbone, monkeypatch):
    original = backbone.tokenize
    monkeypatch.setattr(backbone, "tokenize", lambda texts: original([t.replace("X X", "XX") for t in texts]))
    with pytest.raises(ConfigError, match="do not stay 4 tokens"):
        PromptLayout(backbone, ["dog"], 4, full_stop=True)


@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize(
    ("written", "read"), [("X dog", "Xdog"), ("X", "X-ray"), ("^X", "X-ray")], ids=["joined", "split", "split at first"]
)
def test_placeholders_that_are_not_one_token_each_are_refused(backbone, monkeypatch, count, written, read):
    original = backbone.tokenize
    monkeypatch.setattr(backbone, "tokenize", lambda texts: original([re.sub(written, read, t) for t in texts]))
    with pytest.raises(ConfigError, match=f"{count} placeholders before 'dog' do not stay {count} tokens"):
        PromptLayout(backbone, ["dog"], count, full_stop=True)


def test_tokenizer_may_give_the_first_word_of_a_text_another_token(monkeypatch):
    backbone = TinyBackbone(causal=False)
    original = backbone.tokenize
    monkeypatch.setattr(backbone, "tokenize", lambda texts: original([re.sub(r" (?=\w)", " _", t) for t in texts]))
    assert backbone.tokenize(["dog"])[0, 0] != backbone.tokenize(["X dog"])[0, 1]
    features = PromptLearner(backbone, CLASSES, PromptConfig()).text_features(backbone)
    sentences = [f"a photo of a {normalise_name(name)}." for name in CLASSES]
    assert_features_agree(features["positive"], backbone.encode_text(sentences))
    one = PromptLearner(backbone, CLASSES, PromptConfig(1, positive_init=None))
    assert one.embeddings("positive")[0].shape == (3, backbone.context_length, backbone.text_width)


@pytest.mark.parametrize("class_specific", [True, False])
def test_truncated_prompts_equal_full_length_ones_in_value_and_gradient(backbone, class_specific):
    config = PromptConfig(6, 9, class_specific=class_specific, positive_init=None, negative_init=None)
    learner = PromptLearner(backbone, CLASSES, config)
    target = torch.randn(3, backbone.embed_dim, generator=torch.Generator().manual_seed(1))
    for polarity in ("positive", "negative"):
        context = getattr(learner, f"{polarity}_context")
        embeddings, ends = learner.embeddings(polarity)
        assert embeddings.shape[1] < backbone.context_length
        padding = backbone.embed_tokens(torch.zeros(3, backbone.context_length - embeddings.shape[1]).long())
        short = backbone.encode_prompts(embeddings, ends)
        full = backbone.encode_prompts(torch.cat([embeddings, padding], dim=1), ends)
        (short_gradient,) = torch.autograd.grad((short * target).sum(), context, retain_graph=True)
        (full_gradient,) = torch.autograd.grad((full * target).sum(), context)
        assert_features_agree(short, full)
        assert_features_agree(short_gradient, full_gradient)
        assert float(short_gradient.abs().min(dim=-1).values.max()) > 0


def test_without_causal_mask_prompts_keep_their_full_length():
    backbone = TinyBackbone(causal=False)
    learner = PromptLearner(backbone, CLASSES)
    embeddings, ends = learner.embeddings("positive")
    assert embeddings.shape == (3, 77, backbone.text_width)
    assert ends.tolist() == [76, 76, 76]


@pytest.mark.parametrize("config", CONFIGS)
def test_subset_of_classes_equals_rows_of_all(backbone, config):
    prompts = build_prompts(backbone, CLASSES, config)
    subset = torch.tensor([2, 0])
    some, every = prompts.text_features(backbone, subset), prompts.text_features(backbone)
    assert list(some) == list(every)
    assert_features_agree(some.stacked(), every.stacked()[:, subset])


def test_subset_sends_no_gradient_to_other_classes(backbone):
    learner = PromptLearner(backbone, CLASSES)
    learner.text_features(backbone, torch.tensor([1]))["positive"].sum().backward()
    moved = learner.positive_context.grad.abs().sum(dim=(1, 2)) > 0
    assert moved.tolist() == [False, True, False]


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_single_prompt_learns_its_own_context_and_residual_only(backbone, mode):
    learner = PromptLearner(backbone, CLASSES, PromptConfig(mode=mode))
    assert [name for name, _ in learner.named_parameters()] == [f"{mode}_context", f"{mode}_residual"]
    features = learner.text_features(backbone)
    other = {"positive": "negative", "negative": "positive"}[mode]
    assert other not in features
    assert features[mode].shape == (3, backbone.embed_dim)
    with pytest.raises(ConfigError, match=f"no {other} prompt"):
        learner.embeddings(other)


def test_state_holds_the_contexts_and_nothing_else(backbone):
    learner = PromptLearner(backbone, CLASSES, PromptConfig(residual=False))
    assert set(learner.state_dict()) == {"positive_context", "negative_context"}
    assert not any(module is backbone for module in learner.modules())


def test_templates_equal_plain_sentences_and_have_no_parameters(backbone):
    prompts = TemplatePrompts(backbone, CLASSES)
    features = prompts.text_features(backbone)
    names = ("dog", "traffic light", "skateboard")
    assert_features_agree(features["positive"], backbone.encode_text([f"a photo of a {n}." for n in names]))
    assert_features_agree(features["negative"], backbone.encode_text([f"a photo without a {n}." for n in names]))
    assert list(prompts.parameters()) == []
    assert prompts.state_dict() == {}


def test_several_templates_are_averaged_on_the_sphere(backbone):
    templates = ("a photo of a {}.", "a drawing of a {}.", "{}")
    features = TemplatePrompts(backbone, CLASSES, TemplateConfig(templates, None)).text_features(backbone)
    names = ("dog", "traffic light", "skateboard")
    each = [backbone.encode_text([t.replace("{}", name) for name in names]) for t in templates]
    assert_features_agree(features["positive"], normalize(sum(each) / 3, dim=-1))
    assert "negative" not in features


def test_name_with_braces_stays_as_it_is(backbone):
    features = TemplatePrompts(backbone, ["{x}"], TemplateConfig("a {}!", None)).text_features(backbone)
    assert_features_agree(features["positive"], backbone.encode_text(["a {x}!"]))


@pytest.mark.parametrize("family", ["clip_resnet", "mobileclip_fastvit"])
def test_open_clip_text_towers_take_the_prompts(family):
    backbone = tiny_backbone(family)
    learner = PromptLearner(backbone, CLASSES)
    assert learner.positive_context.shape[1] == learner.negative_context.shape[1] == 4
    expected = backbone.encode_text(["a photo of a dog.", "a photo of a traffic light.", "a photo of a skateboard."])
    assert_features_agree(learner.text_features(backbone)["positive"], expected)
    random = PromptLearner(backbone, ["traffic light"], PromptConfig(8, positive_init=None))
    embeddings, ends = random.embeddings("positive")
    if backbone.causal_text:
        assert ends.tolist() == [1 + 8 + 3]
    assert embeddings.shape[1] == (13 if backbone.causal_text else backbone.context_length)


def test_residuals_start_at_zero_and_are_added_to_the_unit_feature(backbone):
    plain = PromptLearner(backbone, CLASSES, PromptConfig(residual=False)).text_features(backbone)
    learner = PromptLearner(backbone, CLASSES)
    assert_features_agree(learner.text_features(backbone).stacked(), plain.stacked())
    with torch.no_grad():
        learner.positive_residual[1] += torch.arange(backbone.embed_dim) / backbone.embed_dim
    moved = learner.text_features(backbone)["positive"]
    expected = plain["positive"] + learner.positive_residual
    assert_features_agree(moved, expected / expected.norm(dim=1, keepdim=True))
    some = learner.text_features(backbone, torch.tensor([1]))["positive"]
    assert_features_agree(some, moved[1:2])
    moved.sum().backward()
    assert learner.positive_residual.grad.abs().sum() > 0
    assert learner.negative_residual.grad is None


def test_residuals_follow_their_class(backbone):
    learner = PromptLearner(backbone, CLASSES)
    with torch.no_grad():
        learner.negative_residual.copy_(torch.randn(learner.negative_residual.shape))
    turned = learner.for_classes(backbone, CLASSES, CLASSES[::-1])
    assert torch.equal(turned.negative_residual, learner.negative_residual.flip(0))


def test_shared_prompts_have_no_residuals(backbone):
    learner = PromptLearner(backbone, CLASSES, PromptConfig(class_specific=False))
    assert learner.positive_residual is None
    assert learner.negative_residual is None
    with pytest.raises(ConfigError, match="shared prompts have no vectors"):
        PromptConfig(class_specific=False, residual=True)
    with pytest.raises(ConfigError, match="residual is 'yes'"):
        PromptConfig(residual="yes")


@pytest.fixture
def opposite_backbone(backbone, monkeypatch):
    monkeypatch.setattr(backbone, "absence", "opposite")
    return backbone


@pytest.mark.parametrize("class_specific", [True, False])
def test_opposite_absence_starts_as_minus_the_positive_feature(opposite_backbone, class_specific):
    config = PromptConfig(class_specific=class_specific)
    features = PromptLearner(opposite_backbone, CLASSES, config).text_features(opposite_backbone)
    assert_features_agree(features["negative"], -features["positive"])


def test_opposite_absence_is_minus_what_the_negative_context_says(opposite_backbone):
    config = PromptConfig(8, 8, residual=False)
    opposite = PromptLearner(opposite_backbone, CLASSES, config)
    words = PromptLearner(opposite_backbone, CLASSES, replace(config, absence="words"))
    with torch.no_grad():
        opposite.negative_context.copy_(words.negative_context)
    assert_features_agree(
        opposite.text_features(opposite_backbone)["negative"], -words.text_features(opposite_backbone)["negative"]
    )


def test_opposite_absence_adds_the_residual_after_turning_round(opposite_backbone):
    learner = PromptLearner(opposite_backbone, CLASSES)
    start = learner.text_features(opposite_backbone)["negative"].detach()
    with torch.no_grad():
        learner.negative_residual += 0.5
    expected = normalize(start + 0.5, dim=-1)
    assert_features_agree(learner.text_features(opposite_backbone)["negative"], expected)


def test_absence_is_settled_by_the_backbone_and_kept_with_the_prompts(opposite_backbone, monkeypatch):
    learner = PromptLearner(opposite_backbone, CLASSES)
    assert learner.config.absence == "opposite"
    monkeypatch.setattr(opposite_backbone, "absence", "words")
    assert learner.for_classes(opposite_backbone, CLASSES, CLASSES).config.absence == "opposite"
    assert prompts_from_dict(learner.config.to_dict()) == learner.config


@pytest.mark.parametrize("published", [PromptConfig.paper_partial_labels(), PromptConfig.paper_zero_shot()])
def test_published_prompts_say_absence_in_words_on_every_backbone(opposite_backbone, published):
    assert not PromptLearner(opposite_backbone, CLASSES, published).config.negative_is_opposite


def test_single_negative_prompt_speaks_in_words(opposite_backbone):
    learner = PromptLearner(opposite_backbone, CLASSES, PromptConfig(mode="negative", residual=False))
    expected = opposite_backbone.encode_text(["a photo without a dog."])
    assert_features_agree(learner.text_features(opposite_backbone)["negative"][:1], expected)


@pytest.mark.parametrize("phrase", ["no trace of", None])
def test_a_negative_phrase_of_ones_own_is_spoken_in_words(opposite_backbone, phrase):
    config = PromptLearner(opposite_backbone, CLASSES, PromptConfig(negative_init=phrase)).config
    assert (config.absence, config.negative_init) == ("words", phrase)


def test_settled_prompts_name_the_phrases_that_they_start_from(opposite_backbone):
    config = PromptLearner(opposite_backbone, CLASSES, PromptConfig(positive_init="an image of")).config
    assert (config.absence, config.negative_init) == ("opposite", "an image of")
    own = PromptConfig(negative_init="no trace of", absence="opposite")
    assert PromptLearner(opposite_backbone, CLASSES, own).config == own


def test_other_ways_of_absence_are_refused():
    with pytest.raises(ConfigError, match="absence is 'silence', expected one of words, opposite or None"):
        PromptConfig(absence="silence")


def test_placeholders_take_no_embeddings(monkeypatch):
    backbone = TinyBackbone()
    seen = []
    original = backbone.embed_tokens
    monkeypatch.setattr(backbone, "embed_tokens", lambda tokens: seen.append(tokens.numel()) or original(tokens))
    PromptLayout(backbone, CLASSES, 50, full_stop=True)
    assert sum(seen) < 50


def test_prompts_of_one_length_share_what_stands_behind_the_contexts():
    def learner(tokens):
        return PromptLearner(TinyBackbone(), CLASSES, PromptConfig(6, tokens))

    same, different = learner(6), learner(7)
    assert same.positive_layout is same.negative_layout
    assert different.positive_layout is not different.negative_layout
