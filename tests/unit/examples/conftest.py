"""Images and folders for the tests of the example."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from examples.image_converter.convert import Wish
from examples.image_converter.jobs import Jobs
from examples.image_converter.records import Job, Made

NOW = time.time()  # files carry the real clock's time
MakeImage = Callable[..., bytes]
AddJob = Callable[..., Job]


@pytest.fixture
def image() -> MakeImage:
    """Makes the bytes of an image: `image("PNG", "RGBA", size=(30, 20), color=…, **options)`."""

    def make(
        format: str = "PNG",
        mode: str = "RGB",
        *,
        size: tuple[int, int] = (30, 20),
        color: int | tuple[int, ...] | None = None,
        **options: object,
    ) -> bytes:
        out = BytesIO()
        Image.new(mode, size, color).save(out, format, **options)
        return out.getvalue()

    return make


@pytest.fixture
def noise() -> bytes:
    """A PNG of a megabyte: large enough to be read and written in many pieces."""
    out = BytesIO()
    Image.effect_noise((1000, 1000), 80).save(out, "PNG")
    return out.getvalue()


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path / "demo")


@pytest.fixture
def add(jobs: Jobs) -> AddJob:
    """Puts a job into the queue."""

    def add(
        content: bytes = b"image",
        *,
        user: str = "kim",
        now: float = NOW,
        wish: Wish = Wish("webp"),  # noqa: B008
        **more: str,
    ) -> Job:
        given = {"name": "cat.png", **more}
        return jobs.queue(jobs.receive(BytesIO(content), user=user, now=now, wish=wish, **given))

    return add


MADE = Made(
    source_format="PNG", source_width=8, source_height=6, width=4, height=3, note="n", worker="w1"
)


def make_files(jobs: Jobs, job: Job, content: bytes = b"result") -> None:
    """What a worker leaves in the folder."""
    jobs.result(job).write_bytes(content)
    jobs.thumbnail(job).write_bytes(b"thumbnail")
