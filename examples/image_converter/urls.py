"""The paths of the demo, below `/demo/` on the public surface."""

from __future__ import annotations

from django.urls import path, register_converter
from ulid import ULID

from examples.image_converter import downloads, views


class JobId:
    """A ULID as we write it; anything else is 404 before it meets a file name."""

    regex = "[0-7][0-9A-HJKMNP-TV-Z]{25}"

    def to_python(self, value: str) -> str:
        return str(ULID.from_str(value))

    def to_url(self, value: str) -> str:
        return value


register_converter(JobId, "job")

app_name = "image_converter"
urlpatterns = [
    path("", views.page, name="page"),
    path("assets/<slug:stem>.<slug:suffix>", views.asset, name="asset"),
    path("token", views.token, name="token"),
    path("workers", views.workers, name="workers"),
    path("jobs", views.jobs, name="jobs"),
    path("jobs/<job:job_id>", views.job, name="job"),
    path("jobs/<job:job_id>/cancel", views.cancel, name="cancel"),
    path("jobs/<job:job_id>/retry", views.retry, name="retry"),
    path("jobs/<job:job_id>/result", downloads.result, name="result"),
    path("jobs/<job:job_id>/thumbnail", downloads.thumbnail, name="thumbnail"),
    path("results.zip", downloads.archive, name="archive"),
]
