"""Real images in every format, and everything that is none."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from examples.image_converter.convert import (
    MAX_PIXELS,
    THUMBNAIL,
    Cancelled,
    Converted,
    Progress,
    Unconvertible,
    Wish,
    convert,
)
from examples.image_converter.formats import FORMATS
from tests.unit.examples.conftest import MakeImage


class Converter:
    """Converts bytes; keeps what was reported and the image that came out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.thumbnail = folder / "thumbnail"
        self.reports: list[Progress] = []

    def __call__(
        self, content: bytes, format: str, side: int | None = None, quality: int | None = None
    ) -> tuple[Converted, Image.Image]:
        source, result = self.folder / "source", self.folder / "result"
        source.write_bytes(content)
        wish = Wish(format, side, quality)
        found = convert(source, result, self.thumbnail, wish, self.reports.append)
        with result.open("rb") as file:
            made = Image.open(BytesIO(file.read()))
        made.load()
        return found, made

    def refused(self, content: bytes, format: str = "png") -> str:
        with pytest.raises(Unconvertible) as refused:
            self(content, format)
        return str(refused.value)


@pytest.fixture
def converter(tmp_path: Path) -> Converter:
    return Converter(tmp_path)


@pytest.mark.parametrize("target", FORMATS)
@pytest.mark.parametrize("source", FORMATS)
def test_every_format_becomes_every_other(
    converter: Converter, image: MakeImage, source: str, target: str
) -> None:
    content = image(FORMATS[source].pillow, color=(200, 40, 90))
    found, made = converter(content, target)
    assert made.format == FORMATS[target].pillow
    assert made.size == (30, 20)
    assert (found.source_format, found.width, found.height) == (FORMATS[source].pillow, 30, 20)
    assert (found.source_width, found.source_height) == (30, 20)
    pixel = made.convert("RGB").getpixel((15, 10))
    assert isinstance(pixel, tuple)
    assert all(abs(a - b) < 12 for a, b in zip(pixel, (200, 40, 90), strict=True))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16"])
@pytest.mark.parametrize("target", FORMATS)
def test_every_kind_of_png(converter: Converter, image: MakeImage, mode: str, target: str) -> None:
    _, made = converter(image("PNG", mode), target)
    assert made.format == FORMATS[target].pillow


@pytest.mark.parametrize("mode", ["I", "F"])
def test_numbers_as_pixels_are_stretched_to_what_is_in_them(
    converter: Converter, mode: str
) -> None:
    numbers = Image.new(mode, (3, 1))
    for x, value in enumerate((-1000, 0, 1000)):
        numbers.putpixel((x, 0), value)
    out = BytesIO()
    numbers.save(out, "TIFF")
    _, made = converter(out.getvalue(), "bmp")
    assert [made.getpixel((x, 0)) for x in range(3)] == [0, 127, 255]


def test_cmyk_jpeg(converter: Converter, image: MakeImage) -> None:
    _, made = converter(image("JPEG", "CMYK", color=(0, 0, 0, 0)), "png")
    assert made.getpixel((0, 0)) == (255, 255, 255)


def test_16_bit_grey_is_scaled_not_cut_off(converter: Converter) -> None:
    grey = Image.new("I;16", (2, 1))
    grey.putpixel((0, 0), 0x8000)
    grey.putpixel((1, 0), 0xFFFF)
    out = BytesIO()
    grey.save(out, "PNG")
    _, made = converter(out.getvalue(), "bmp")
    assert [made.getpixel((x, 0)) for x in (0, 1)] == [127, 255]


def test_progress_is_measured(converter: Converter, noise: bytes) -> None:
    converter(noise, "png")
    steps = [report.step for report in converter.reports]
    assert list(dict.fromkeys(steps)) == ["decode", "resize", "encode"]
    percents = [int(report.percent or 0) for report in converter.reports if report.step == "decode"]
    assert percents == sorted(percents)
    assert len(set(percents)) > 10
    assert percents[-1] == 100
    written = [report.written for report in converter.reports if report.step == "encode"]
    assert written == sorted(written)
    assert len(set(written)) > 3
    assert written[-1] == (converter.folder / "result").stat().st_size


@pytest.mark.parametrize("stop_at", ["decode", "resize", "encode"])
def test_the_report_can_cancel(tmp_path: Path, noise: bytes, stop_at: str) -> None:
    source = tmp_path / "source"
    source.write_bytes(noise)

    def report(progress: Progress) -> None:
        if progress.step == stop_at:
            raise Cancelled

    with pytest.raises(Cancelled):
        convert(source, tmp_path / "result", tmp_path / "thumbnail", Wish("png"), report)


def test_transparency_becomes_white_where_there_is_none(
    converter: Converter, image: MakeImage
) -> None:
    content = image("PNG", "RGBA", color=(255, 0, 0, 0))
    found, made = converter(content, "jpeg")
    assert made.getpixel((5, 5)) == (255, 255, 255)
    assert "white" in found.note
    found, made = converter(content, "webp")
    assert made.mode == "RGBA"
    assert made.getpixel((5, 5))[3] == 0  # type: ignore[index]
    assert found.note == ""


def test_the_camera_s_orientation_is_applied(converter: Converter, image: MakeImage) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    found, made = converter(image("JPEG", exif=exif), "png")
    assert made.size == (found.width, found.height) == (20, 30)
    assert (found.source_width, found.source_height) == (20, 30)
    assert made.getexif().get(0x0112, 1) == 1


def test_only_the_first_frame_and_it_says_so(converter: Converter) -> None:
    frames = [Image.new("RGB", (8, 8), color) for color in ("red", "green", "blue")]
    out = BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:])
    found, made = converter(out.getvalue(), "png")
    assert found.note == "Only the first frame was converted."
    assert made.convert("RGB").getpixel((0, 0)) == (255, 0, 0)


def test_a_million_frames_are_not_counted(converter: Converter) -> None:
    """20 MB of empty frames would keep a worker busy for hours."""
    entries = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 8, 278: 1, 279: 1}  # TIFF 6.0 tags
    frame = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    pages, size = 2_000, 2 + len(frame) + 4
    places = [*(8 + number * size for number in range(1, pages)), 0]
    content = b"II*\0" + struct.pack("<I", 8)
    content += b"".join(
        struct.pack("<H", len(entries)) + frame + struct.pack("<I", next) for next in places
    )
    found, _ = converter(content, "png")
    assert found.note == "Only the first frame was converted."
    assert len(converter.reports) < pages


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"hello, I am not an image", "text file"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG"),
        (b"<?xml version='1.0'?>\n<svg/>", "SVG"),
        (b"%PDF-1.7\n\0", "PDF"),
        (b"\0\0\0\x18ftypheic\0\0", "HEIC"),
        (b"\0" * 100, "not an image"),
        (b"\x89PNG\r\n\x1a\n", "damaged"),
    ],
)
def test_what_is_no_image(converter: Converter, content: bytes, expected: str) -> None:
    assert expected in converter.refused(content)


@pytest.mark.parametrize("format", ["png", "jpeg", "gif", "bmp", "tiff"])
def test_a_truncated_file(converter: Converter, noise: bytes, format: str) -> None:
    with Image.open(BytesIO(noise)) as whole:
        out = BytesIO()
        whole.save(out, FORMATS[format].pillow)
    assert "incomplete" in converter.refused(out.getvalue()[: out.tell() // 2])


def test_a_damaged_file(converter: Converter, noise: bytes) -> None:
    broken = noise[:5000] + b"x" * 5000 + noise[10_000:]
    assert "damaged" in converter.refused(broken)


def png_of(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be this large."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + head
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("side", [int(MAX_PIXELS**0.5) + 1, 12_000, 100_000])
def test_a_decompression_bomb(converter: Converter, side: int) -> None:
    said = converter.refused(png_of(side, side))
    assert said.startswith(f"This image has too many pixels ({side * side:,}).")
    assert said.endswith("The limit is 50,000,000.")
    assert not any(report.step == "resize" for report in converter.reports)


def test_a_side_that_the_format_cannot_hold(converter: Converter, image: MakeImage) -> None:
    assert "16,383" in converter.refused(image(size=(16_384, 1)), "webp")
    _, made = converter(image(size=(16_384, 1)), "png")
    assert made.size == (16_384, 1)


@pytest.mark.parametrize("source", ["png", "jpeg", "tiff", "webp"])
@pytest.mark.parametrize(
    ("size", "side", "expected"),
    [
        ((300, 200), 150, (150, 100)),
        ((200, 300), 150, (100, 150)),
        ((300, 200), 300, (300, 200)),
        ((300, 200), 2048, (300, 200)),  # never larger than it was
        ((300, 2), 10, (10, 1)),  # never nothing
        ((3000, 2000), 30, (30, 20)),  # a JPEG is decoded at an eighth
    ],
)
def test_the_longest_side(
    converter: Converter,
    image: MakeImage,
    source: str,
    size: tuple[int, int],
    side: int,
    expected: tuple[int, int],
) -> None:
    content = image(FORMATS[source].pillow, size=size, color=(200, 40, 90))
    found, made = converter(content, "png", side)
    assert made.size == (found.width, found.height) == expected
    assert (found.source_width, found.source_height) == size
    pixel = made.convert("RGB").getpixel((0, 0))
    assert isinstance(pixel, tuple)
    assert all(abs(a - b) < 12 for a, b in zip(pixel, (200, 40, 90), strict=True))


def test_what_is_shrunk_need_not_fit_before(converter: Converter, image: MakeImage) -> None:
    _, made = converter(image(size=(16_384, 2)), "webp", 1000)
    assert made.size == (1000, 1)


@pytest.mark.parametrize("format", [name for name, f in FORMATS.items() if f.quality])
def test_the_quality_counts(converter: Converter, noise: bytes, format: str) -> None:
    sizes = []
    for quality in (10, None, 95):
        converter(noise, format, 300, quality)
        sizes.append((converter.folder / "result").stat().st_size)
    assert sizes[0] < sizes[1] < sizes[2]


@pytest.mark.parametrize("format", [name for name, f in FORMATS.items() if not f.quality])
def test_without_loss_there_is_no_quality(
    converter: Converter, image: MakeImage, format: str
) -> None:
    converter(image(), format, quality=1)
    assert FORMATS[format].quality is None


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1"])
def test_the_thumbnail(converter: Converter, image: MakeImage, mode: str) -> None:
    there: list[bool] = []

    def report(progress: Progress) -> None:
        if progress.step == "resize":
            there.append(converter.thumbnail.stat().st_size > 0)

    source = converter.folder / "source"
    source.write_bytes(image("PNG", mode, size=(800, 400)))
    convert(source, converter.folder / "result", converter.thumbnail, Wish("png"), report)
    assert there == [True]
    with Image.open(converter.thumbnail) as small:
        assert (small.format, small.size) == ("WEBP", (THUMBNAIL, THUMBNAIL // 2))


def test_the_colour_profile_goes_where_it_still_counts(
    converter: Converter, image: MakeImage
) -> None:
    content = image("PNG", icc_profile=b"a profile")
    assert converter(content, "jpeg")[1].info["icc_profile"] == b"a profile"
    assert "icc_profile" not in converter(image("PNG", "L", icc_profile=b"grey"), "jpeg")[1].info


@pytest.mark.skipif("avif" not in FORMATS, reason="this Pillow has no AVIF")
def test_a_truncated_avif(converter: Converter, image: MakeImage) -> None:
    content = image("AVIF", size=(200, 200))
    converter.refused(content[: len(content) // 2])
