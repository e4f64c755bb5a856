"""Encoding with a cache: what is read instead of encoded, and that nothing else changes."""

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from backbones.tiny_models import tiny_backbone
from coloured import CLASSES, make_model, with_unreadable
from dualcoop import DualCoOp
from dualcoop.cache import FeatureCache, QuantisedRegions
from dualcoop.cache.folder import stored_files
from dualcoop.data.labels import LabelledImages
from dualcoop.data.problems import DataWarning
from dualcoop.errors import ConfigError, DataError, ModelError
from dualcoop.features import encode_images_once, store
from dualcoop.features import encoding as features_module
from dualcoop.training import Trainer, TrainingArguments
from tiny import TinyBackbone, tiny_image

ROWS = np.arange(14)
HALF = torch.finfo(torch.float16).eps
"""A step of float16, in which features of unit length are kept, between computations in batches of other sizes."""
AUGMENTED = {"views": 3, "augmentation": "published"}


class Killed(BaseException):
    pass


@pytest.fixture
def encoded(monkeypatch):
    """Numbers of images that went through any tiny image tower, call by call."""
    calls = []
    for name in ("encode_regions", "encode_pooled"):
        encode = getattr(TinyBackbone, name)

        def counted(self, images, *, encode=encode, **options):
            calls.append(len(images))
            return encode(self, images, **options)

        monkeypatch.setattr(TinyBackbone, name, counted)
    return calls


@pytest.fixture
def cache(tmp_path):
    return FeatureCache(tmp_path / "cache", 1)


@pytest.fixture
def own_data(train_data, tmp_path):
    """A copy of the images that may be changed."""
    folder = shutil.copytree(train_data.root, tmp_path / "own")
    return LabelledImages(tuple(folder / path.name for path in train_data.paths), train_data.labels, CLASSES, folder)


def all_views(features):
    rows = np.arange(len(features))
    return torch.stack([features.batch(rows, view) for view in range(features.views)])


def assert_same(first, second):
    assert torch.equal(all_views(first), all_views(second))
    assert (first.kept == second.kept).all()
    assert first.problems == second.problems
    assert first.region_shape == second.region_shape
    assert (first.global_regions() == second.global_regions()).all()


@pytest.mark.parametrize("views", [{}, AUGMENTED, {"views": 2, "augmentation": "flip"}])
def test_features_are_the_same_bit_for_bit_without_with_and_from_the_cache(train_data, tmp_path, cache, encoded, views):
    data = with_unreadable(train_data, tmp_path / "broken", 3)
    plain = encode_images_once(make_model(), data, **views)
    assert_same(encode_images_once(make_model(), data, cache=cache, **views), plain)
    encoded.clear()
    assert_same(encode_images_once(make_model(), data, cache=cache, **views), plain)
    assert encoded == []


def test_features_from_the_cache_lie_in_memory_maps(train_data, cache):
    features = encode_images_once(make_model(), train_data, cache=cache)
    assert all(isinstance(block.regions, np.memmap) for block in features.blocks)


@pytest.mark.parametrize("pooling", ["softmax", "attention"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_every_way_of_encoding_has_features_of_its_own(train_data, cache, encoded, pooling, precision):
    model = make_model(aggregation=pooling)
    first = encode_images_once(model, train_data, precision=precision)
    for other in ("softmax", "average", "attention"):
        for kind in ("float32", "bfloat16"):
            encode_images_once(make_model(aggregation=other), train_data, precision=kind, cache=cache)
    # "softmax" and "average" weigh the same regions.
    assert sum(encoded) == 14 + 4 * 14
    assert_same(encode_images_once(model, train_data, precision=precision, cache=cache), first)


def test_another_model_or_size_encodes_for_itself(train_data, cache, encoded):
    models = [make_model(), make_model(image_size=64)]
    models.append(type(models[0])(TinyBackbone(seed=1), CLASSES, models[0].prompts.config))
    for model in models:
        encode_images_once(model, train_data, cache=cache)
    assert sum(encoded) == 3 * 14


def test_a_model_that_was_changed_in_place_encodes_for_itself(train_data, cache):
    model = make_model()
    encode_images_once(model, train_data, cache=cache)
    with torch.no_grad():
        model.backbone.patches.weight[0] += 1
    expected = encode_images_once(model, train_data)
    assert_same(encode_images_once(model, train_data, cache=cache), expected)


def test_a_changed_image_is_encoded_again_and_no_other(own_data, cache, encoded):
    before = encode_images_once(make_model(), own_data, cache=cache)
    encoded.clear()
    tiny_image(99, (32, 32)).save(own_data.paths[4])
    after = encode_images_once(make_model(), own_data, cache=cache)
    assert encoded == [1]
    assert not torch.equal(after.batch(ROWS[4:5]), before.batch(ROWS[4:5]))
    others = np.delete(ROWS, 4)
    assert torch.equal(after.batch(others), before.batch(others))


def test_a_image_that_was_moved_is_not_encoded_again(own_data, cache, encoded):
    encode_images_once(make_model(), own_data, cache=cache)
    encoded.clear()
    moved = [path.rename(path.with_name(f"moved-{path.name}")) for path in own_data.paths]
    encode_images_once(make_model(), LabelledImages(tuple(moved), own_data.labels, CLASSES), cache=cache)
    assert encoded == []


def test_only_new_images_are_opened_and_encoded(train_data, valid_data, cache, encoded, monkeypatch):
    encode_images_once(make_model(), train_data, cache=cache)
    encoded.clear()
    opened = []
    original = features_module.image_batches

    def noted(paths, *rest, **named):
        opened.extend(paths)
        return original(paths, *rest, **named)

    monkeypatch.setattr(features_module, "image_batches", noted)
    both = LabelledImages((*train_data.paths, *valid_data.paths), np.zeros((24, 3)), CLASSES)
    together = encode_images_once(make_model(), both, cache=cache)
    assert sum(encoded) == 10
    assert opened == list(valid_data.paths)
    expected = encode_images_once(make_model(), both)
    torch.testing.assert_close(all_views(together), all_views(expected), rtol=0, atol=HALF)


def test_more_views_use_those_that_are_there(train_data, cache, encoded):
    fewer = {**AUGMENTED, "views": 2}
    first = encode_images_once(make_model(), train_data, cache=cache, **fewer)
    encoded.clear()
    second = encode_images_once(make_model(), train_data, cache=cache, **{**AUGMENTED, "views": 4})
    assert sum(encoded) == 2 * 14
    assert torch.equal(all_views(second)[:2], all_views(first))


def test_another_seed_shares_the_plain_view_alone(train_data, cache, encoded):
    encode_images_once(make_model(), train_data, cache=cache, **AUGMENTED)
    encoded.clear()
    encode_images_once(make_model(), train_data, cache=cache, seed=1, **AUGMENTED)
    assert sum(encoded) == 2 * 14


def test_adding_images_changes_no_view_of_the_others(train_data):
    rows = np.arange(5, 14)
    part = encode_images_once(make_model(), train_data.subset(rows), **AUGMENTED)
    whole = encode_images_once(make_model(), train_data, **AUGMENTED)
    torch.testing.assert_close(all_views(part), all_views(whole)[:, rows], rtol=0, atol=HALF)


def test_progress_begins_with_what_is_in_the_cache(train_data, cache):
    encode_images_once(make_model(), train_data.subset(ROWS[:4]), cache=cache)
    heard = []
    encode_images_once(make_model(), train_data, cache=cache, progress=lambda *numbers: heard.append(numbers))
    assert heard == [(0, 14), (4, 14), (14, 14)]


def test_what_was_encoded_before_an_interruption_is_not_encoded_again(train_data, cache, encoded, monkeypatch):
    def stop(done, total):
        if done >= 8:
            raise Killed

    monkeypatch.setattr(features_module, "READ_AT_ONCE", 4)
    plain = encode_images_once(make_model(), train_data)
    with pytest.raises(Killed):
        encode_images_once(make_model(), train_data, cache=cache, progress=stop)
    encoded.clear()
    assert_same(encode_images_once(make_model(), train_data, cache=cache), plain)
    # Batches that are encoded side by side end in any order.
    assert sorted(encoded) == [2, 4]


def test_strict_keeps_what_came_before_the_unreadable_image(train_data, tmp_path, cache, encoded, monkeypatch):
    monkeypatch.setattr(features_module, "READ_AT_ONCE", 4)
    with pytest.raises(DataError, match="broken-9"):
        encode_images_once(make_model(), with_unreadable(train_data, tmp_path, 9), strict=True, cache=cache)
    encoded.clear()
    encode_images_once(make_model(), train_data.subset(ROWS[:8]), cache=cache)
    assert encoded == []


def test_damaged_features_are_encoded_again(train_data, cache, encoded):
    plain = encode_images_once(make_model(), train_data, cache=cache)
    expected = all_views(plain)
    del plain
    (file,) = stored_files(cache.folder)
    content = bytearray(file.path.read_bytes())
    content[-3] ^= 64
    file.path.write_bytes(content)
    encoded.clear()
    again = encode_images_once(make_model(), train_data, cache=cache)
    assert encoded == [1]
    torch.testing.assert_close(all_views(again), expected, rtol=0, atol=HALF)


def test_int8_features_are_near_and_the_same_with_and_without_a_cache(train_data, cache):
    full = encode_images_once(make_model(), train_data)
    without = encode_images_once(make_model(), train_data, stored="int8")
    assert isinstance(without.blocks[0], QuantisedRegions)
    assert not torch.equal(all_views(without), all_views(full))
    similarity = torch.nn.functional.cosine_similarity(all_views(without), all_views(full), dim=-1)
    assert similarity.min() > 0.9995
    for _ in range(2):
        assert_same(encode_images_once(make_model(), train_data, stored="int8", cache=cache), without)


@pytest.mark.parametrize("stored", ["float16", "int8"])
def test_features_without_room_in_the_cache_are_encoded_for_the_run(train_data, tmp_path, encoded, stored):
    small = FeatureCache(tmp_path / "small", 1e-6)
    plain = encode_images_once(make_model(), train_data, stored=stored)
    with pytest.warns(DataWarning, match=r"no room within cache_size=1e-06 GiB .* encoded for this run alone"):
        assert_same(encode_images_once(make_model(), train_data, stored=stored, cache=small), plain)
    assert stored_files(small.folder) == []


def test_where_only_part_is_in_the_cache_and_no_more_fits_that_part_is_used(train_data, tmp_path, encoded):
    folder = tmp_path / "cache"
    plain = encode_images_once(make_model(), train_data)
    encode_images_once(make_model(), train_data.subset(ROWS[:8]), cache=FeatureCache(folder, 1))
    encoded.clear()
    with pytest.warns(DataWarning, match="no room"):
        mixed = encode_images_once(make_model(), train_data, cache=FeatureCache(folder, 1e-6))
    assert encoded == [6]
    torch.testing.assert_close(all_views(mixed), all_views(plain), rtol=0, atol=HALF)
    subset = mixed.subset(ROWS[::-2])
    assert torch.equal(all_views(subset), all_views(mixed)[:, ROWS[::-2].copy()])


def test_a_cache_that_cannot_be_written_is_an_error_with_a_remedy(train_data, cache, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("dualcoop.cache.store.write_shard", full)
    with pytest.raises(DataError, match=r"cannot be written to .*No space .*Make room, give another cache_dir or go w"):
        encode_images_once(make_model(), train_data, cache=cache)


def test_the_same_image_twice_gives_the_same_features_twice(train_data, cache):
    twice = LabelledImages((*train_data.paths[:2], *train_data.paths[:2]), np.zeros((4, 3)), CLASSES)
    features = encode_images_once(make_model(), twice, cache=cache)
    assert torch.equal(features.batch(ROWS[:2]), features.batch(ROWS[2:4]))


MEASURED = """
import re, sys
from pathlib import Path
from dualcoop.cache import FeatureCache
sys.path.insert(0, sys.argv[2])
from cache.samples import encoding, keys
def peak():
    return int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
store = FeatureCache(sys.argv[1], 1).store(encoding(regions=128, dimensions=1024))
before = peak()
located = store.lookup(keys(*range(400)))
assert (located.shard >= 0).all()
for row in range(0, 400, 100):
    located.shards[located.shard[row]][located.row[row] : located.row[row] + 1].copy()
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the peak memory of a process in /proc")
def test_finding_a_training_set_does_not_load_it(cache, request):
    from cache.samples import encoding, keys

    store = cache.store(encoding(regions=128, dimensions=1024))
    for number in range(0, 400, 100):
        store.append(keys(*range(number, number + 100)), np.ones((100, 128, 1024), np.float16))
    store.flush()
    total = sum(file.size for file in stored_files(cache.folder))
    command = [sys.executable, "-c", MEASURED, str(cache.folder), str(request.config.rootpath / "tests")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(result.stdout) * 1024 < total / 4


# Runs


def quick(**options):
    return TrainingArguments(**{"epochs": 3, "batch_size": 5, **options})


def contexts(model):
    return torch.cat([value.detach().flatten() for value in model.prompts.parameters()])


@pytest.mark.parametrize("options", [{}, AUGMENTED, {"views": 0, "augmentation": "published"}])
def test_a_run_is_the_same_without_with_and_from_the_cache(train_data, valid_data, tmp_path, options):
    results = []
    for folder in (None, tmp_path / "cache", tmp_path / "cache"):
        model = make_model()
        Trainer(model, quick(cache_dir=folder, **options), train=train_data, valid=valid_data).train()
        results.append((contexts(model), model.thresholds))
    for found in results[1:]:
        assert all(torch.equal(one, other) for one, other in zip(found, results[0], strict=True))


def test_a_second_run_and_its_evaluation_encode_nothing(train_data, valid_data, tmp_path, encoded):
    arguments = quick(cache_dir=tmp_path / "cache")
    Trainer(make_model(), arguments, train=train_data, valid=valid_data).train()
    encoded.clear()
    trainer = Trainer(make_model(), arguments, train=train_data, valid=valid_data)
    trainer.train()
    trainer.evaluate(valid_data)
    assert encoded == []


def test_evaluation_is_the_same_with_a_cache(train_data, valid_data, tmp_path):
    plain = Trainer(make_model(), quick(), train=train_data).evaluate(valid_data)
    cached = Trainer(make_model(), quick(cache_dir=tmp_path / "cache"), train=train_data).evaluate(valid_data)
    assert cached.to_dict() == plain.to_dict()


def test_a_tower_in_training_leaves_the_cache_alone(train_data, valid_data, tmp_path):
    model = DualCoOp(tiny_backbone("clip_resnet"), CLASSES)
    arguments = quick(epochs=1, finetune="pooling", cache_dir=tmp_path / "cache")
    Trainer(model, arguments, train=train_data, valid=valid_data).train()
    assert not (tmp_path / "cache").exists()


def test_a_checkpoint_is_resumed_with_another_cache_and_not_in_another_precision(train_data, tmp_path):
    first = quick(output_dir=tmp_path / "run", cache_dir=tmp_path / "cache")
    Trainer(make_model(), first, train=train_data).train()
    again = replace(first, resume=True, cache_dir=None, cache_size=5.0)
    assert len(Trainer(make_model(), again, train=train_data).train().history) == 3
    with pytest.raises(ModelError, match="belongs to a run with other data"):
        Trainer(make_model(), replace(again, feature_precision="int8"), train=train_data).train()


def test_the_folder_of_the_cache_is_no_part_of_the_saved_model(train_data, tmp_path):
    model = make_model()
    Trainer(model, quick(cache_dir=tmp_path / "cache"), train=train_data).train()
    assert not {"cache_dir", "cache_size"} & set(model.training_record["training"]["arguments"])


def test_a_cache_folder_that_cannot_be_made_is_refused_at_once(train_data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="region features cannot be kept in"):
        Trainer(make_model(), quick(cache_dir=tmp_path / "file"), train=train_data)


def test_large_int8_features_lie_in_a_file_without_a_cache(train_data, tmp_path, monkeypatch):
    plain = encode_images_once(make_model(), train_data, stored="int8")
    monkeypatch.setattr(store, "MEMORY_BYTES", 100)
    in_file = encode_images_once(make_model(), train_data, stored="int8", folder=tmp_path / "new")
    assert isinstance(in_file.blocks[0].values, np.memmap)
    assert_same(in_file, plain)
