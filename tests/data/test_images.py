import pickle
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps

from dualcoop.data.images import ImageError, default_workers, open_image, to_rgb
from dualcoop.errors import DataError


def pixel(path: Path, x: int = 0, y: int = 0) -> tuple[int, ...]:
    return open_image(path).getpixel((x, y))


def png_that_declares(path: Path, width: int, height: int) -> Path:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 8) + b"IDAT" + b"\0" * 12)
    return path


def test_a_plain_jpeg_opens_as_rgb(tmp_path):
    Image.new("RGB", (16, 16), (200, 30, 30)).save(tmp_path / "red.jpg")
    image = open_image(tmp_path / "red.jpg")
    assert (image.mode, image.size) == ("RGB", (16, 16))
    np.testing.assert_allclose(image.getpixel((8, 8)), (200, 30, 30), atol=3)


def test_the_image_no_longer_needs_its_file(tmp_path):
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "gone.png")
    image = open_image(tmp_path / "gone.png")
    (tmp_path / "gone.png").unlink()
    assert image.getpixel((0, 0)) == (1, 2, 3)


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "red.jpg")
    red, green, blue = pixel(tmp_path / "red.jpg")
    assert red > 240
    assert max(green, blue) < 15


def test_a_palette_becomes_its_colours(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.save(tmp_path / "palette.png")
    assert pixel(tmp_path / "palette.png") == (10, 200, 30)


def test_transparent_palette_entries_become_white(tmp_path):
    image = Image.new("P", (4, 4), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.save(tmp_path / "palette.png", transparency=1)
    assert pixel(tmp_path / "palette.png") == (255, 255, 255)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (10, 20, 30, 0), (255, 255, 255)),
        ("RGBA", (10, 20, 30, 255), (10, 20, 30)),
        ("RGBA", (0, 0, 0, 128), (127, 127, 127)),
        ("LA", (40, 0), (255, 255, 255)),
        ("L", 77, (77, 77, 77)),
        ("1", 1, (255, 255, 255)),
    ],
)
def test_transparency_is_laid_on_white_and_grey_is_spread(tmp_path, mode, colour, expected):
    Image.new(mode, (4, 4), colour).save(tmp_path / "image.png")
    assert pixel(tmp_path / "image.png") == expected


def test_sixteen_bit_grey_is_scaled_to_eight(tmp_path):
    values = np.array([[0, 257 * 128, 65535]], dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "deep.png")
    assert [pixel(tmp_path / "deep.png", x)[0] for x in range(3)] == [0, 128, 255]


def test_a_dark_sixteen_bit_image_stays_dark(tmp_path):
    Image.fromarray(np.full((2, 2), 257, dtype=np.uint16)).save(tmp_path / "dark.png")
    assert pixel(tmp_path / "dark.png") == (1, 1, 1)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], dtype=np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 200.0]], dtype=np.float32), [0, 100, 200]),
        (np.array([[0, 32896, 65535]], dtype=np.int32), [0, 128, 255]),
        (np.array([[-100, 0, 900]], dtype=np.int32), [0, 0, 4]),
        (np.array([[0, 1_000_000, 2_000_000]], dtype=np.int32), [0, 128, 255]),
        (np.array([[0.0, np.nan, 1.0]], dtype=np.float32), [0, 0, 255]),
    ],
)
def test_floating_point_and_32_bit_tiffs_are_scaled_to_eight_bits(tmp_path, values, expected):
    Image.fromarray(values).save(tmp_path / "deep.tif")
    assert [pixel(tmp_path / "deep.tif", x)[0] for x in range(values.shape[1])] == expected


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ((250, 0, 0), (0, 0, 250))]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:], duration=50)
    assert pixel(tmp_path / "moving.gif")[0] > 200


def turned_image(orientation):
    """A red image with a blue corner, and an EXIF block with this orientation."""
    image = Image.new("RGB", (40, 20), (250, 0, 0))
    image.paste((0, 0, 250), (0, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = orientation
    return image, exif


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_exif_rotation_is_applied(tmp_path, orientation):
    image, exif = turned_image(orientation)
    image.save(tmp_path / "turned.png", exif=exif)
    upright = open_image(tmp_path / "turned.png")
    with Image.open(tmp_path / "turned.png") as stored:
        np.testing.assert_array_equal(np.asarray(upright), np.asarray(ImageOps.exif_transpose(stored)))
    assert upright.size == ((40, 20) if orientation < 5 else (20, 40))


def test_a_image_is_turned_once_only(tmp_path):
    image, exif = turned_image(6)
    image.save(tmp_path / "turned.png", exif=exif)
    upright = open_image(tmp_path / "turned.png")
    np.testing.assert_array_equal(np.asarray(to_rgb(upright)), np.asarray(upright))


def test_a_sixteen_bit_image_is_turned_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.array([[0, 65535, 0]], dtype=np.uint16)).save(tmp_path / "deep.png", exif=exif)
    assert open_image(tmp_path / "deep.png").size == (1, 3)


@pytest.mark.filterwarnings("ignore:Tag data larger", "ignore:Corrupt EXIF")
@pytest.mark.parametrize(
    "block",
    [
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x05\xff\xff\xff\xff\xff\xff\xff\xff",
        b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x02\0\0\0\x04abc\0",
        b"garbage",
        b"",
    ],
)
def test_damaged_exif_does_not_cost_the_image(tmp_path, block):
    exif = b"Exif\0\0" + block
    Image.new("RGB", (16, 8), (200, 30, 30)).save(tmp_path / "odd.jpg", exif=exif)
    assert open_image(tmp_path / "odd.jpg").size == (16, 8)


def test_a_jpeg_is_decoded_smaller_when_less_is_needed(tmp_path):
    Image.new("RGB", (800, 640), (200, 30, 30)).save(tmp_path / "large.jpg")
    assert open_image(tmp_path / "large.jpg", draft_size=160).size == (200, 160)
    assert open_image(tmp_path / "large.jpg", draft_size=(300, 300)).size == (400, 320)


def test_a_draft_leaves_other_formats_alone(tmp_path):
    Image.new("RGB", (80, 64)).save(tmp_path / "small.png")
    assert open_image(tmp_path / "small.png", draft_size=8).size == (80, 64)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.jpg: the file is missing\. Check the name"):
        open_image(tmp_path / "nowhere.jpg")


def test_an_empty_file_is_named_with_a_remedy(tmp_path):
    (tmp_path / "empty.jpg").touch()
    with pytest.raises(DataError, match=r"empty\.jpg: the file is empty \(0 bytes\)\. Copy or download it again"):
        open_image(tmp_path / "empty.jpg")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".tif", ".webp", ".bmp"])
def test_a_truncated_file_is_named_with_a_remedy(tmp_path, suffix):
    file = tmp_path / f"half{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match=rf"half\{suffix}: the image is truncated or damaged .* download it again"):
        open_image(file)


def test_a_text_file_is_no_image(tmp_path):
    (tmp_path / "notes.jpg").write_text("not an image")
    with pytest.raises(DataError, match=r"notes\.jpg: this is not an image .* Convert it to JPEG or PNG"):
        open_image(tmp_path / "notes.jpg")


def test_a_web_page_saved_as_a_image_is_recognised(tmp_path):
    (tmp_path / "page.jpg").write_text("\n<!DOCTYPE html><title>404</title>")
    with pytest.raises(DataError, match=r"page\.jpg: this is a web page .* Download the image itself"):
        open_image(tmp_path / "page.jpg")


def test_heic_without_its_plugin_says_what_to_install(tmp_path):
    (tmp_path / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + b"\0" * 64)
    with pytest.raises(DataError, match=r"phone\.heic: \.heic images cannot be read here\. .* pillow-heif"):
        open_image(tmp_path / "phone.heic")


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(DataError, match="this is a folder, not an image"):
        open_image(tmp_path)


def test_an_impossible_name_is_an_error_of_its_own(tmp_path):
    with pytest.raises(DataError, match="cannot be reached"):
        open_image("a\0b.jpg")


def test_a_decompression_bomb_is_refused_before_decoding(tmp_path):
    bomb = png_that_declares(tmp_path / "bomb.png", 60_000, 60_000)
    with pytest.raises(DataError, match=r"bomb\.png: the image is too large .* Scale it down"):
        open_image(bomb)


def test_a_image_over_the_limit_names_both_sizes_and_the_option(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "wide.png")
    with pytest.raises(DataError, match=r"wide\.png: .*40 x 30 = 1,200 pixels.*limit of 1,000.*max_pixels=1200"):
        open_image(tmp_path / "wide.png", max_pixels=1000)


def test_a_image_under_a_raised_limit_opens(tmp_path):
    Image.new("RGB", (40, 30)).save(tmp_path / "wide.png")
    assert open_image(tmp_path / "wide.png", max_pixels=1200).size == (40, 30)


def test_the_error_carries_path_reason_and_remedy(tmp_path):
    with pytest.raises(ImageError) as caught:
        open_image(tmp_path / "nowhere.jpg")
    assert caught.value.path == tmp_path / "nowhere.jpg"
    assert caught.value.reason == "the file is missing"
    assert caught.value.remedy == "Check the name and the folder"


def test_an_image_given_as_bytes_is_that_of_the_file(tmp_path):
    image = Image.effect_noise((64, 48), 40).convert("RGB")
    exif = image.getexif()
    exif[ExifTags.Base.Orientation] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    expected = open_image(tmp_path / "turned.jpg", draft_size=16)
    found = open_image((tmp_path / "turned.jpg").read_bytes(), draft_size=16)
    assert found.size == (24, 32)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(expected))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"the file is empty \(0 bytes\)"),
        (b"<html>404", "this is a web page"),
        (b"not an image", "this is not an image"),
        (b"\0\0\0\x18ftypheic" + b"\0" * 64, r"\.heic images cannot be read here.*pillow-heif"),
    ],
)
def test_bytes_that_are_no_image_are_refused_as_files_are(content, message):
    with pytest.raises(ImageError, match=message) as caught:
        open_image(content)
    assert caught.value.path is None
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_truncated_image_is_refused_as_bytes_and_as_a_pil_image_that_is_not_loaded(tmp_path):
    Image.effect_noise((64, 64), 40).save(tmp_path / "whole.png")
    half = (tmp_path / "whole.png").read_bytes()[:1000]
    for form in (half, Image.open(BytesIO(half))):
        with pytest.raises(ImageError, match="the image is truncated or damaged"):
            open_image(form)


def test_a_file_over_the_limit_of_bytes_is_named_with_the_option(tmp_path):
    (tmp_path / "long.png").write_bytes(b"0" * 1001)
    with pytest.raises(
        DataError, match=r"long\.png: the file has 1,001 bytes, over the limit of 1,000.*max_bytes=1001"
    ):
        open_image(tmp_path / "long.png", max_bytes=1000)


def test_to_rgb_leaves_its_argument_as_it_is():
    image = Image.new("RGBA", (4, 4), (10, 20, 30, 0))
    assert to_rgb(image).getpixel((0, 0)) == (255, 255, 255)
    assert image.mode == "RGBA"
    plain = Image.new("RGB", (4, 4))
    to_rgb(plain).putpixel((0, 0), (9, 9, 9))
    assert plain.getpixel((0, 0)) == (0, 0, 0)


def test_a_mode_without_a_way_to_rgb_is_named():
    with pytest.raises(DataError, match=r"mode 'La' cannot be turned into RGB .* Save it as JPEG or PNG"):
        to_rgb(Image.new("La", (4, 4)))


def test_a_file_that_may_not_be_read_is_named(tmp_path, monkeypatch):
    Image.new("RGB", (4, 4)).save(tmp_path / "locked.png")
    # The superuser may read everything, so the refusal is put in place of the real one.
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(DataError, match=r"locked\.png: there is no permission to read the file"):
        open_image(tmp_path / "locked.png")


def test_a_lack_of_memory_is_named(tmp_path, monkeypatch):
    Image.new("RGB", (4, 4)).save(tmp_path / "large.png")

    def out_of_memory(image):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", out_of_memory)
    with pytest.raises(DataError, match=r"large\.png: there is not enough memory to decode the image"):
        open_image(tmp_path / "large.png")


@pytest.mark.parametrize(("usable", "threads"), [({0}, 1), ({1, 3}, 2), (set(range(64)), 8)])
def test_images_are_read_on_the_cores_that_the_process_may_use(monkeypatch, usable, threads):
    monkeypatch.setattr("os.sched_getaffinity", lambda process: usable, raising=False)
    assert default_workers() == threads
