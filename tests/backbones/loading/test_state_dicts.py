"""Checkpoint files: every format, and everything that is no checkpoint."""

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from open_clip import CLIP, CustomTextCLIP
from safetensors.torch import save_file
from torch import Tensor

from backbones.tiny_models import CONFIGS, assert_towers_agree, random_images, randomise, tiny_model
from dualcoop.backbones import create_backbone
from dualcoop.backbones.loading.open_clip_models import build_open_clip
from dualcoop.backbones.loading.state_dicts import (
    OPENAI_MARKS,
    infer_model_config,
    is_openai,
    load_into,
    read_state_dict,
)
from dualcoop.errors import BackboneError
from reference.openai_checkpoint import half_precision, random_state, save_plain, save_torchscript

State = dict[str, Tensor]


@pytest.fixture(scope="module")
def state() -> State:
    return random_state(seed=1, image_size=64)


def without_marks(state: State) -> State:
    return {name: value for name, value in state.items() if name not in OPENAI_MARKS}


def save_wrapped(state: State, path: Path) -> Path:
    """As open_clip's training program writes it, from several GPUs."""
    inside = {f"module.{name}": value for name, value in without_marks(state).items()}
    torch.save({"epoch": 3, "name": "run", "state_dict": inside, "optimizer": {"state": {}}}, path)
    return path


def save_safetensors(state: State, path: Path) -> Path:
    path = path.with_suffix(".safetensors")
    save_file(without_marks(state), path)
    return path


FORMATS: list[Callable[[State, Path], Path]] = [
    save_plain,
    save_torchscript,
    save_wrapped,
    save_safetensors,
]


@pytest.mark.parametrize("save", FORMATS)
def test_every_format_gives_the_same_float32_tensors(
    save: Callable[[State, Path], Path], state: State, tmp_path: Path
) -> None:
    read = without_marks(read_state_dict(save(half_precision(state), tmp_path / "clip.pt")))
    assert read.keys() == without_marks(state).keys()
    for name, value in half_precision(without_marks(state)).items():
        assert read[name].dtype == (torch.float32 if value.is_floating_point() else value.dtype), name
        assert torch.equal(read[name], value.to(read[name].dtype)), name


@pytest.mark.parametrize("save", FORMATS)
def test_a_resnet_file_alone_makes_the_same_backbone_in_every_format(
    save: Callable[[State, Path], Path], state: State, tmp_path: Path
) -> None:
    path = save(half_precision(state), tmp_path / "clip.pt")
    backbone = create_backbone(path)
    assert backbone.name == str(path)
    assert backbone.image_size == 64
    plain = create_backbone(save_plain(state, tmp_path / "full.pt"))
    # The half-precision file rounds the weights, so only the numbers' size is compared with the full one.
    torch.testing.assert_close(
        backbone.encode_regions(random_images()), plain.encode_regions(random_images()), rtol=0.05, atol=0.01
    )
    same = create_backbone(save_plain(half_precision(state), tmp_path / "half.pt"))
    assert backbone.fingerprint() == same.fingerprint()
    assert backbone.fingerprint() != plain.fingerprint()


def test_the_architecture_is_read_off_the_tensors(tmp_path: Path) -> None:
    state = random_state(vision_width=16, blocks=(1, 2, 3, 1), embed_dim=48, text_layers=3, image_size=96)
    config = infer_model_config(state, tmp_path)
    assert config == {
        "embed_dim": 48,
        "quick_gelu": True,
        "vision_cfg": {
            "layers": [1, 2, 3, 1],
            "width": 16,
            "image_size": 96,
            "patch_size": None,
            "head_width": 64,
        },
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 3},
    }


def test_openai_vision_transformers_are_inferred_and_others_must_be_named(tmp_path: Path) -> None:
    vision = {"image_size": 64, "layers": 3, "width": 64, "patch_size": 16}
    config = {**CONFIGS["vit"], "vision_cfg": vision, "text_cfg": {**CONFIGS["vit"]["text_cfg"], "width": 64}}
    config["text_cfg"]["heads"] = 1
    model = randomise(build_open_clip(config))
    plain = dict(model.state_dict())
    with pytest.raises(BackboneError, match=r'"ViT-B-32/openai", pretrained="'):
        create_backbone(save_plain(plain, tmp_path / "unknown.pt"))
    marked = {**plain, "input_resolution": torch.tensor(64)}
    backbone = create_backbone(save_plain(marked, tmp_path / "openai.pt"))
    expected = model.encode_image(random_images(), normalize=True)
    assert_towers_agree(backbone.encode_pooled(random_images()), expected)
    tokens = backbone.tokenize(["a dog"])
    expected = model.encode_text(tokens, normalize=True)
    assert_towers_agree(backbone.encode_text(["a dog"]), expected)


def test_text_tensors_load_with_and_without_their_prefix(state: State, tmp_path: Path) -> None:
    config = infer_model_config(state, tmp_path)
    plain, custom = CLIP(**config), CustomTextCLIP(**config)
    load_into(plain, state, "file")
    load_into(custom, state, "file")
    again = CLIP(**config)
    load_into(again, dict(custom.state_dict()), "file")
    assert custom.state_dict().keys() != plain.state_dict().keys()
    for name, value in plain.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert infer_model_config(dict(custom.state_dict()), tmp_path) == config


def test_scales_of_one_element_load_into_scalars(state: State, tmp_path: Path) -> None:
    model = CLIP(**infer_model_config(state, tmp_path))
    load_into(model, {**state, "logit_scale": state["logit_scale"].reshape(1)}, "file")
    assert float(model.logit_scale.detach()) == pytest.approx(4.6052)


def test_marks_tell_openais_files() -> None:
    assert is_openai({"vocab_size": torch.tensor(1)})
    assert not is_openai({"logit_scale": torch.tensor(1.0)})


def test_weights_of_another_model_are_refused_by_name(state: State, tmp_path: Path) -> None:
    other = CLIP(**infer_model_config(random_state(embed_dim=32, image_size=64), tmp_path))
    with pytest.raises(BackboneError, match=r"somewhere\.pt: .*text_projection.*\[64, 64\].*\[64, 32\]"):
        load_into(other, state, "somewhere.pt")
    less = {name: value for name, value in state.items() if "layer4" not in name}
    model = CLIP(**infer_model_config(state, tmp_path))
    with pytest.raises(BackboneError, match=r"Missing key.*visual\.layer4\.0\.conv1\.weight.* and more\)\. Check"):
        load_into(model, less, "file")
    with pytest.raises(BackboneError, match=r"Unexpected key.*surplus"):
        load_into(model, {**state, "surplus": torch.zeros(1)}, "file")


def test_a_timm_tower_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "mobile.safetensors"
    save_file(dict(tiny_model("convnext").state_dict()), path)
    with pytest.raises(BackboneError, match="Say which model it is"):
        create_backbone(path)


class Malicious:
    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return Path.touch, (Path("pwned"),)  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.pt", b""),
        ("noise.pt", b"\x93 this is no checkpoint"),
        ("noise.safetensors", b"\x10\x00\x00\x00\x00\x00\x00\x00{not json"),
        ("page.bin", b"<html>404 not found</html>"),
        ("object.pt", pickle.dumps(Malicious(), protocol=2)),
    ],
    ids=["zero bytes", "noise", "broken safetensors", "web page", "pickled call"],
)
def test_other_files_are_refused_with_what_was_expected(
    name: str, content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BackboneError, match=rf"{name}: cannot be read as model weights.*expected a CLIP"):
        read_state_dict(path)
    assert not (tmp_path / "pwned").exists()


def test_truncated_files_are_refused(state: State, tmp_path: Path) -> None:
    for save in FORMATS:
        path = save(state, tmp_path / "clip.pt")
        content = path.read_bytes()
        path.write_bytes(content[: len(content) // 2])
        with pytest.raises(BackboneError, match="cannot be read"):
            read_state_dict(path)


def test_files_without_tensors_are_refused(tmp_path: Path) -> None:
    for index, content in enumerate(({}, {"epoch": 3}, [1, 2], torch.zeros(2))):
        path = tmp_path / f"{index}.pt"
        torch.save(content, path)
        with pytest.raises(BackboneError, match="holds no tensors"):
            read_state_dict(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BackboneError, match=r"missing\.pt: there is no such checkpoint file"):
        create_backbone(tmp_path / "missing.pt")
