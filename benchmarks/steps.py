"""A training step: the published procedure against ours, in the paper's three settings."""

from dataclasses import replace

import torch

from benchmarks.options import Options, Row
from benchmarks.ours import Epoch, contexts, published_arguments, timed_model
from benchmarks.reference import PublishedPrompts, PublishedStep
from benchmarks.settings import Setting, Towers, coco, nuswide, random_labels, random_pixels, random_towers, shrunk, voc
from benchmarks.timing import Candidate, Paired, paired

PUBLISHED = "published"
FIGURE = "times faster"
STAGES = {
    "images": "image encoding",
    "reading": "feature reading",
    "text": "text",
    "head": "head",
    "backward": "loss, backward, update",
}


def measure(options: Options) -> list[Row]:
    """Seconds per step and their parts; a setting whose first round is longer than its time is run once."""
    rows: list[Row] = []
    for setting in (voc(), coco(), nuswide()):
        setting = shrunk(setting) if options.quick else setting
        found = measure_setting(setting, options)
        rows += [_row(setting, name, found) for name in found.samples]
    return rows


def measure_setting(setting: Setting, options: Options) -> Paired:
    """Published and our step on the same batch size, classes and contexts."""
    towers = random_towers(setting.backbone, options)
    candidates = {PUBLISHED: published_step(setting, towers, options)}
    model = timed_model(setting, towers.backbone)
    # In lower precision first: that is what a user with such a machine asks for.
    for precision in ("bfloat16", "float32"):
        arguments = published_arguments(setting, precision=precision)
        candidates[f"ours, {precision}"] = Epoch(model, arguments, setting.batch_size)
    if setting.class_sample is not None:
        every = replace(published_arguments(setting, precision="bfloat16"), class_sample=None)
        candidates["ours, bfloat16, all classes in each step"] = Epoch(model, every, setting.batch_size)
    return paired(candidates, rounds=1 if options.quick else 5, budget=options.seconds(120))


def published_step(setting: Setting, towers: Towers, options: Options) -> Candidate:
    """The published step with our model's first contexts."""
    model = timed_model(setting, towers.backbone)
    positive, negative = (
        PublishedPrompts(towers.backbone, setting.classes, each).to(options.device) for each in contexts(model)
    )
    arguments = published_arguments(setting)
    return PublishedStep(
        towers.published,
        (positive, negative),
        random_pixels(setting.batch_size, setting.image_size, options.device),
        torch.from_numpy(random_labels(setting.batch_size, len(setting.classes))).to(options.device),
        loss_weight=arguments.effective_loss_weight,
        learning_rate=arguments.learning_rate,
        class_sample=setting.class_sample,
    )


def _row(setting: Setting, name: str, found: Paired) -> Row:
    least, most = found.ratio_range(PUBLISHED, name)
    drawn = "" if setting.class_sample is None else f" ({setting.class_sample} drawn)"
    return {
        "setting": f"{setting.name}: {setting.backbone}, {setting.image_size} px, "
        f"{len(setting.classes)} classes{drawn}, batch {setting.batch_size}",
        "procedure": name,
        "s per step": found.seconds(name),
        **{title: found.stage(name, stage) for stage, title in STAGES.items()},
        "times faster": found.ratio(PUBLISHED, name),
        "range": "" if name == PUBLISHED else f"{least:.3g}-{most:.3g}",
        "rounds": found.rounds,
    }
