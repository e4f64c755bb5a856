"""Peak memory of a training step on kept region features, each in a process of its own: plain and by this library.

    python -m benchmarks.memory                           # all settings, as a table
    python -m benchmarks.memory --settings VOC COCO       # some of them

Plain is the published procedure's text path and head: all 77 tokens of every prompt at once, a shared context anew for
every class, gradients for the text tower's weights, and all similarities of regions and prompts at once. Both have
RN50's text tower with random weights, the same prompts, regions and labels, and take one step of SGD. A peak is the
largest resident memory of the whole process (ru_maxrss), with Python, torch and the weights: "idle" without the step.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

LIMIT_MIB = 12_288
"""A process that wants more fails, and its row says so."""
BATCH = 192
REGIONS = 197
SGD: dict[str, Any] = {"lr": 0.002, "momentum": 0.9, "weight_decay": 5e-4}
SPATIAL_SCALE, LOGIT_SCALE = 20.0, 100.0


@dataclass(frozen=True)
class MemorySetting:
    """One training step.

    Attributes:
        name: for tables.
        classes: M.
        tokens: N of both contexts.
        class_specific: contexts of each class's own.
        batch: B.
        regions: R.
        plain: whether the plain step is tried.
    """

    name: str
    classes: int
    tokens: int
    class_specific: bool
    batch: int = BATCH
    regions: int = REGIONS
    plain: bool = True


SETTINGS = (
    MemorySetting("VOC", 20, 16, True, batch=8),
    MemorySetting("COCO", 80, 16, True, batch=32),
    MemorySetting("NUS-WIDE", 925, 64, False, regions=50),
    MemorySetting("NUS-WIDE, 1,006", 1006, 64, False, regions=50),
    MemorySetting("NUS-WIDE, 1,006, 448 pixels", 1006, 64, False),
    MemorySetting("1,006 specific", 1006, 16, True, plain=False),
    MemorySetting("10,000 shared", 10_000, 64, False, batch=32, regions=50, plain=False),
    MemorySetting("21,000 shared", 21_000, 64, False, batch=32, regions=50, plain=False),
)
QUICK = SETTINGS[:1]


def measure(settings: Sequence[MemorySetting] = SETTINGS, limit_mib: int = LIMIT_MIB) -> list[dict[str, Any]]:
    """Rows of the table, one a setting.

    Args:
        settings: what to measure.
        limit_mib: private memory that a process may take, MiB.

    Returns:
        For each setting: "setting", "classes", "tokens", "class_specific", "batch", "regions", "idle_mib" (the process
        before the step), "ours_mib" and "plain_mib" (peaks; None where not tried or over the limit), "ours_seconds",
        "plain_seconds" (of the one step, the first), "ratio" (plain to ours, of what the step takes beyond "idle_mib")
        and "note", which says why a figure is missing.
    """
    rows = []
    for setting in settings:
        ours = _in_a_process(setting, "ours", limit_mib)
        plain = _in_a_process(setting, "plain", limit_mib) if setting.plain else None
        notes = [
            f"{way}: over {limit_mib:,} MiB"
            for way, tried in (("ours", True), ("plain", setting.plain))
            if tried and (ours if way == "ours" else plain) is None
        ]
        row: dict[str, Any] = {
            "setting": setting.name,
            "classes": setting.classes,
            "tokens": setting.tokens,
            "class_specific": setting.class_specific,
            "batch": setting.batch,
            "regions": setting.regions,
            "idle_mib": None if ours is None else ours["idle_mib"],
        }
        for way, found in (("ours", ours), ("plain", plain)):
            row[f"{way}_mib"] = None if found is None else found["peak_mib"]
            row[f"{way}_seconds"] = None if found is None else found["seconds"]
        row["ratio"] = None if ours is None or plain is None else _beyond_idle(plain) / _beyond_idle(ours)
        row["note"] = "; ".join(notes if setting.plain else [*notes, "plain: not tried"])
        rows.append(row)
    return rows


def _beyond_idle(found: dict[str, float]) -> float:
    return found["peak_mib"] - found["idle_mib"]


def _in_a_process(setting: MemorySetting, way: str, limit_mib: int) -> dict[str, float] | None:
    """Figures of one step, or None where it wants more memory than it may have."""
    position = SETTINGS.index(setting)
    command = [sys.executable, "-m", "benchmarks.memory", "--step", way, str(position), str(limit_mib)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        found: dict[str, float] = json.loads(done.stdout)
        return found
    if "allocate memory" in done.stderr or "MemoryError" in done.stderr or done.returncode < 0:
        return None
    raise RuntimeError(f"the {way} step of {setting.name} failed:\n{done.stderr}")


def _one_step(way: str, setting: MemorySetting, limit_mib: int) -> dict[str, float]:
    """Run one step in this process, whose peak is then its own."""
    resource.setrlimit(resource.RLIMIT_DATA, (limit_mib * 2**20, limit_mib * 2**20))
    step = (_ours if way == "ours" else _plain)(setting)
    idle = _peak_mib()
    start = time.perf_counter()
    step()
    return {"idle_mib": idle, "peak_mib": _peak_mib(), "seconds": time.perf_counter() - start}


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _names(count: int) -> list[str]:
    """So many names: NUS-WIDE's, and pairs of them where these are too few."""
    from dualcoop.data.splits import seen_unseen_split

    split = seen_unseen_split("nuswide-925-81")
    single = [*split.seen, *split.unseen]
    pairs = (f"{first} {second}" for first, second in product(single, single) if first != second)
    return [*single[:count], *(next(pairs) for _ in range(count - len(single)))]


def _backbone() -> Any:
    import open_clip

    from dualcoop.backbones.loading.open_clip_models import build_open_clip, build_tokenizer, wrap_open_clip

    config = {**open_clip.get_model_config("RN50"), "quick_gelu": True}
    return wrap_open_clip(build_open_clip(config), name="RN50/random", tokenizer=build_tokenizer(config))


def _batch(setting: MemorySetting, embed_dim: int) -> tuple[Any, Any]:
    """Regions as they are kept, (B, R, D), float16, and half-known labels (B, M)."""
    import torch

    shape = (setting.batch, setting.regions, embed_dim)
    regions = torch.empty(shape, dtype=torch.float16)
    for image in regions:
        image.copy_(torch.nn.functional.normalize(torch.randn(shape[1:]), dim=-1))
    return regions, torch.randint(-1, 2, (setting.batch, setting.classes), dtype=torch.int8)


def _ours(setting: MemorySetting) -> Callable[[], None]:
    import torch

    from dualcoop import DualCoOp
    from dualcoop.functional import asymmetric_loss
    from dualcoop.prompts import PromptConfig

    prompts = PromptConfig(
        setting.tokens,
        setting.tokens,
        class_specific=setting.class_specific,
        positive_init=None,
        negative_init=None,
        residual=False,
    )
    model = DualCoOp(_backbone(), _names(setting.classes), prompts)
    optimizer = torch.optim.SGD(model.prompts.parameters(), **SGD)
    regions, labels = _batch(setting, model.backbone.embed_dim)

    def step() -> None:
        asymmetric_loss(model.logits_from_regions(regions), labels).backward()
        optimizer.step()

    return step


def _plain(setting: MemorySetting) -> Callable[[], None]:
    import torch

    from dualcoop.functional import DualLogits, asymmetric_loss

    backbone = _backbone()
    tower = backbone.text.requires_grad_(True)
    placeholders = " ".join(["X"] * setting.tokens)
    tokens = backbone.tokenize([f"{placeholders} {name.replace('_', ' ')}." for name in _names(setting.classes)])
    words, ends = backbone.embed_tokens(tokens).detach(), backbone.end_positions(tokens)
    shape = (setting.classes,) * setting.class_specific + (setting.tokens, backbone.text_width)
    contexts = [(0.02 * torch.randn(shape)).requires_grad_() for _ in range(2)]
    optimizer = torch.optim.SGD(contexts, **SGD)
    kept, labels = _batch(setting, backbone.embed_dim)

    def text_features(context: Any) -> Any:
        context = context.expand(setting.classes, -1, -1)
        prompts = torch.cat([words[:, :1], context, words[:, 1 + setting.tokens :]], dim=1)
        states = tower.transformer(prompts + tower.positional_embedding, attn_mask=tower.causal_mask)
        pooled = tower.ln_final(states)[torch.arange(setting.classes), ends] @ tower.text_projection
        return torch.nn.functional.normalize(pooled, dim=-1)

    def step() -> None:
        positive, negative = (text_features(context) for context in contexts)
        regions = kept.float()
        similarities = regions @ positive.T
        weights = (SPATIAL_SCALE * similarities).softmax(dim=1)
        logits = DualLogits(
            LOGIT_SCALE * (weights * similarities).sum(dim=1),
            LOGIT_SCALE * (weights * (regions @ negative.T)).sum(dim=1),
        )
        asymmetric_loss(logits, labels).backward()
        optimizer.step()

    return step


def main() -> None:
    """Print a table, or, asked for one step, its figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [setting.name for setting in SETTINGS]
    parser.add_argument("--settings", nargs="+", choices=names, default=names, help="which to measure")
    parser.add_argument("--limit", type=int, default=LIMIT_MIB, help="MiB that a step may take")
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        way, position, limit = options.step
        print(json.dumps(_one_step(way, SETTINGS[int(position)], int(limit))))
        return
    print(
        "| setting | idle, MiB | ours, MiB | plain, MiB | ratio beyond idle | |\n"
        "| --- | ---: | ---: | ---: | ---: | --- |"
    )
    for setting in SETTINGS:
        if setting.name in options.settings:
            (row,) = measure([setting], options.limit)
            figures = [row[name] for name in ("idle_mib", "ours_mib", "plain_mib")]
            shown = ["-" if figure is None else f"{figure:,.0f}" for figure in figures]
            ratio = "-" if row["ratio"] is None else f"{row['ratio']:.1f}"
            print(f"| {' | '.join([setting.name, *shown, ratio, row['note']])} |", flush=True)


if __name__ == "__main__":
    main()
