"""What the text tower learns from: ImageNet names, WordNet nouns and glosses, nouns with adjectives."""

import random
from collections.abc import Mapping
from dataclasses import dataclass

from scripts.build_lite.teacher import imagenet_names
from scripts.build_lite.wordnet import Synset

# WordNet's lexicographer files of things that a camera sees: animal, artifact, body, food, group, location,
# object, person, phenomenon, plant, substance, event, act
VISIBLE = {5, 6, 8, 13, 14, 15, 17, 18, 19, 20, 27, 11, 4}
# plants and animals are mostly Latin names
LATIN = {5, 20}
# fmt: off
ADJECTIVES = (
    "red", "green", "blue", "yellow", "white", "black", "brown", "grey", "orange", "pink",
    "wooden", "metal", "plastic", "glass", "stone", "old", "new", "young", "small", "large", "big",
    "tiny", "long", "round", "empty", "full", "open", "broken", "wet", "dry", "dirty", "clean",
    "beautiful", "bright", "dark", "cute", "wild", "fresh", "ripe", "cooked", "sliced", "running",
    "sitting", "standing", "flying", "sleeping", "parked", "crowded", "sunny", "snowy", "toy",
    "striped", "furry", "colourful", "tall", "ancient", "modern",
)
# fmt: on
POSITIVE_TEMPLATES = (
    "{}",
    "{}.",
    "a {}.",
    "a photo of a {}.",
    "a photo of the {}.",
    "a photo of {}.",
    "an image of a {}.",
    "an image of a {}",
    "a photo of many {}.",
    "a close-up photo of a {}.",
    "a blurry photo of a {}.",
    "there is a {} in the image.",
    "this is a {}.",
)
NEGATIVE_TEMPLATES = (
    "a photo without a {}.",
    "a photo without {}.",
    "an image without a {}",
    "no {}.",
    "there is no {} in the image.",
    "a photo of no {}.",
    "not a {}.",
)


@dataclass(frozen=True)
class Corpus:
    """Distinct names and sentences, and where sampling finds each kind."""

    texts: list[str]
    imagenet: range
    nouns: range
    compounds: range
    sentences: range


def build_corpus(synsets: Mapping[str, Synset], seed: int) -> Corpus:
    """Names (which templates go around) and sentences (which stand alone), in a seeded order."""
    draw = random.Random(seed)
    known = list(dict.fromkeys(name for names in imagenet_names() for name in names))
    seen = set(known)
    nouns: dict[str, None] = {}
    sentences: dict[str, None] = {}
    for synset in synsets.values():
        visible = synset.lexicographer in VISIBLE
        for name in synset.names:
            lower = name.lower()
            proper = name != lower
            keep = (visible and not proper) or draw.random() < (0.1 if proper or not visible else 1.0)
            if synset.lexicographer in LATIN and proper:
                keep = draw.random() < 0.1
            if keep and lower not in seen:
                nouns[lower] = None
        if visible and 2 < len(synset.gloss.split()) <= 12 and draw.random() < 0.4:
            sentences[synset.gloss.lower()] = None
    names = list(nouns)
    common = [name for name in names if " " not in name and len(name) < 9]
    compounds = dict.fromkeys(
        f"{draw.choice(ADJECTIVES)} {draw.choice(common if draw.random() < 0.6 else known)}" for _ in range(15000)
    )
    texts = [*known, *names, *compounds, *sentences]
    ends = [len(known), len(known) + len(names), len(known) + len(names) + len(compounds), len(texts)]
    return Corpus(texts, range(ends[0]), range(ends[0], ends[1]), range(ends[1], ends[2]), range(ends[2], ends[3]))
