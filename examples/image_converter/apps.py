"""The example as a Django app."""

from __future__ import annotations

from django.apps import AppConfig


class ImageConverterConfig(AppConfig):
    """No models: the jobs live in a folder."""

    name = "examples.image_converter"
    label = "image_converter"
    verbose_name = "Image converter (demo)"
