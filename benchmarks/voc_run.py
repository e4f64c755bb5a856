"""The cost of a whole run the size of VOC 2007, from rates measured side by side: steps, and encoding once."""

from dataclasses import replace
from math import ceil

from benchmarks.options import Options, Row
from benchmarks.ours import PRECISION, Epoch, encoding, published_arguments, timed_model
from benchmarks.settings import random_towers, shrunk, voc
from benchmarks.steps import published_step
from benchmarks.timing import paired
from dualcoop import TrainingArguments

IMAGES, EPOCHS = 5011, 50
FIGURE = "times cheaper"
PUBLISHED, ENCODING = "published", "encoding"
SAME_STEPS, OWN_BATCH = "ours, the published schedule's steps", "ours, our own batch size"


def measure(options: Options) -> list[Row]:
    """Hours of the published run and of ours with its batch size and with our own, computed from measured rates."""
    setting = shrunk(voc()) if options.quick else voc()
    towers = random_towers(setting.backbone, options)
    model = timed_model(setting, towers.backbone)
    same = published_arguments(setting, precision=PRECISION)
    own = same if options.quick else replace(same, batch_size=TrainingArguments().images_per_step(IMAGES))
    batches = {PUBLISHED: setting.batch_size, SAME_STEPS: setting.batch_size, OWN_BATCH: own.images_per_step(IMAGES)}
    found = paired(
        {
            PUBLISHED: published_step(setting, towers, options),
            ENCODING: encoding(model, setting.batch_size),
            SAME_STEPS: Epoch(model, same, batches[SAME_STEPS]),
            OWN_BATCH: Epoch(model, own, batches[OWN_BATCH]),
        },
        rounds=1 if options.quick else 5,
        budget=options.seconds(60),
    )
    once = IMAGES * found.seconds(ENCODING) / setting.batch_size
    rows: list[Row] = []
    for name, batch in batches.items():
        steps = EPOCHS * ceil(IMAGES / batch)
        encoding_once = None if name == PUBLISHED else once
        total = (encoding_once or 0.0) + steps * found.seconds(name)
        rows.append(
            {
                "procedure": name,
                "batch": batch,
                "steps": steps,
                "s per step (measured)": found.seconds(name),
                "s encoding once (computed)": encoding_once,
                "hours (computed)": total / 3600,
                "rounds": found.rounds,
            }
        )
    hours = rows[0]["hours (computed)"]
    return [row | {FIGURE: hours / row["hours (computed)"]} for row in rows]
