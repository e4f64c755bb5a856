"""Distils the teacher into the causal tower, robust to learned contexts and aware of what "without" means."""

import random
import time
from dataclasses import dataclass
from itertools import accumulate

import torch
from open_clip.tokenizer import SimpleTokenizer
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import normalize

from dualcoop.backbones.text.tower import TextTower
from scripts.build_lite.texts import NEGATIVE_TEMPLATES, POSITIVE_TEMPLATES, Corpus

KIND_SHARES = (0.25, 0.45, 0.15, 0.15)  # ImageNet names, nouns, compounds, sentences
NEGATIVE_SHARE = 0.2
CONTEXT_SHARE = 0.5
CONTEXT_LENGTHS = (4, 8, 16)
GAUSSIAN_SHARE = 0.5
MEANING_WEIGHT = 0.7
NOISE_SHARE = 0.25
SIMILARITY_WEIGHT = 2.0


@dataclass(frozen=True)
class Schedule:
    """Length and step size of the distillation."""

    steps: int
    batch_size: int = 256
    learning_rate: float = 2e-3
    embedding_learning_rate: float = 1e-3
    warmup: int = 100
    weight_decay: float = 0.01


class Batches:
    """Random batches of prompt embeddings with their targets."""

    def __init__(self, corpus: Corpus, targets: Tensor, weights: Tensor, tokenizer: SimpleTokenizer, seed: int) -> None:
        self._corpus = corpus
        self._targets = targets
        self._ids = [tokenizer.encode(text) for text in corpus.texts]
        self._templates = {
            template: tuple(tokenizer.encode(part) for part in template.split("{}"))
            for template in (*POSITIVE_TEMPLATES, *NEGATIVE_TEMPLATES)
        }
        self._start, self._end = tokenizer.sot_token_id, tokenizer.eot_token_id
        self._draw = random.Random(seed)
        self._noun_weights = list(accumulate(float(weights[i]) for i in corpus.nouns))
        self._torch = torch.Generator().manual_seed(seed)

    def _indices(self, size: int) -> list[int]:
        corpus, draw = self._corpus, self._draw
        kinds = draw.choices(range(4), KIND_SHARES, k=size)
        nouns = iter(draw.choices(corpus.nouns, cum_weights=self._noun_weights, k=size))
        ranges = (corpus.imagenet, corpus.nouns, corpus.compounds, corpus.sentences)
        return [next(nouns) if kind == 1 else draw.choice(ranges[kind]) for kind in kinds]

    def sample(self, tower: TextTower, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Prompt embeddings (n, L, W), end positions (n,) and targets (n, D).

        A text under a negative template ("a photo without a {}") has the opposite vector as its target.
        """
        draw = self._draw
        indices = self._indices(size)
        rows, signs = [], []
        for index in indices:
            sign, before, after = 1.0, [], []
            if index < self._corpus.sentences.start:
                negative = draw.random() < NEGATIVE_SHARE
                templates = NEGATIVE_TEMPLATES if negative else POSITIVE_TEMPLATES
                before, after = self._templates[draw.choice(templates)]
                sign = -1.0 if negative else 1.0
            rows.append([*before, *self._ids[index], *after][:40])
            signs.append(sign)
        targets = self._targets[indices] * torch.tensor(signs)[:, None]
        context = draw.choice(CONTEXT_LENGTHS) if draw.random() < CONTEXT_SHARE else 0
        length = max(map(len, rows)) + 2
        tokens = torch.zeros(size, length, dtype=torch.long)
        for i, row in enumerate(rows):
            tokens[i, : len(row) + 2] = torch.tensor([self._start, *row, self._end])
        ends = torch.tensor([len(row) + 1 for row in rows])
        embeddings = tower.token_embedding(tokens)
        if context:
            vectors, meaning = self._context(tower, size, context)
            targets = normalize(targets + MEANING_WEIGHT * meaning, dim=1)
            embeddings = torch.cat([embeddings[:, :1], vectors, embeddings[:, 1:]], dim=1)
            ends = ends + context
        elif draw.random() < NOISE_SHARE:
            embeddings = embeddings + 0.3 * self._gaussian(tower, embeddings.shape)
        return embeddings, ends, targets

    def _gaussian(self, tower: TextTower, shape: torch.Size) -> Tensor:
        return torch.randn(shape, generator=self._torch) * tower.token_embedding.weight.std().detach()

    def _context(self, tower: TextTower, size: int, count: int) -> tuple[Tensor, Tensor]:
        """Contexts (size, count, W), and what they say: vectors (size, D), of length 1 or 0.

        Gaussian vectors say nothing, the same for all or one each. Other nouns say what they mean, so that a
        learned context can lead the feature anywhere.
        """
        if self._draw.random() < GAUSSIAN_SHARE:
            rows = size if self._draw.random() < 0.5 else 1
            context = self._gaussian(tower, torch.Size((rows, count, tower.width)))
            return context.expand(size, -1, -1), torch.zeros(1, self._targets.shape[1])
        ids, meanings = [], []
        for _ in range(size):
            row: list[int] = []
            said: list[int] = []
            while len(row) < count:
                (noun,) = self._draw.choices(self._corpus.nouns, cum_weights=self._noun_weights)
                row += self._ids[noun]
                said.append(noun)
            ids.append(row[:count])
            meanings.append(self._targets[said].sum(dim=0))
        return tower.token_embedding(torch.tensor(ids)), normalize(torch.stack(meanings), dim=1)


def distillation_loss(features: Tensor, targets: Tensor) -> Tensor:
    """1 - cosine, plus the squared differences of the in-batch similarities."""
    features = normalize(features.float(), dim=1)
    cosine = (features * targets).sum(dim=1).mean()
    difference = (features @ features.T - targets @ targets.T).square().mean()
    return 1 - cosine + SIMILARITY_WEIGHT * difference


def distil(tower: TextTower, batches: Batches, schedule: Schedule, log_every: int = 50) -> None:
    """Train `tower` in place with AdamW, warm-up and cosine, in bfloat16 autocast."""
    embeddings = [tower.token_embedding.weight]
    others = [p for name, p in tower.named_parameters() if name != "token_embedding.weight"]
    optimizer = torch.optim.AdamW(
        [
            {"params": embeddings, "lr": schedule.embedding_learning_rate, "weight_decay": 0.0},
            {"params": others, "lr": schedule.learning_rate, "weight_decay": schedule.weight_decay},
        ],
        betas=(0.9, 0.98),
    )
    scheduler = torch.optim.lr_scheduler.SequentialLR(
        optimizer,
        [
            torch.optim.lr_scheduler.LinearLR(optimizer, 0.01, total_iters=schedule.warmup),
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, schedule.steps - schedule.warmup),
        ],
        milestones=[schedule.warmup],
    )
    tower.train()
    start, running = time.perf_counter(), 0.0
    for step in range(1, schedule.steps + 1):
        prompts, ends, targets = batches.sample(tower, schedule.batch_size)
        # On CPUs the backward pass of the fused attention takes half of a step on texts this short.
        with sdpa_kernel(SDPBackend.MATH):
            with torch.autocast("cpu", torch.bfloat16):
                features = tower(prompts, ends)
            loss = distillation_loss(features, targets)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        running += loss.item()
        if step % log_every == 0:
            print(f"step {step} loss {running / log_every:.4f} {time.perf_counter() - start:.0f} s", flush=True)
            running = 0.0
    tower.eval()
