"""Rule 10: without prometheus_client every metric counts into nothing."""

from __future__ import annotations

import inspect
import sys
from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest
from prometheus_client import Counter, Gauge, Histogram

from sockets.base import metrics, uncounted
from sockets.types import Kind


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of the metrics, as it is where prometheus_client is not installed."""
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    spec = spec_from_file_location("uncounted_metrics", metrics.__file__)
    assert spec is not None and spec.loader is not None
    made = module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def test_all_metrics_are_there(without: ModuleType) -> None:
    """Rule 10: whoever counts needs to know of no difference."""
    assert set(vars(without)) == set(vars(metrics)) | {"__cached__"} & set(vars(without))
    assert isinstance(without.SESSIONS, uncounted.Nothing)


def test_they_take_every_call(without: ModuleType) -> None:
    without.sessions[Kind.CLIENT].inc()
    without.PAUSED.dec()
    without.receiver_wait["tasks"].observe(0.5)
    without.delivery[True].observe(0.5)
    without.loop_lag.observe(0.5)
    without.RECORDER_PENDING.set_function(lambda: 1.0)
    without.count_disconnect(Kind.WORKER, 1000)
    without.count_refusal(4501)
    without.count_api_request(204)
    without.name_node("a")
    without.show_promise("persistence", True)


def test_they_have_the_form_of_those_that_count() -> None:
    for name in ("labels", "inc", "dec", "set", "observe", "set_function", "clear"):
        real = [getattr(kind, name) for kind in (Counter, Gauge, Histogram) if hasattr(kind, name)]
        assert real, name
        taken = list(inspect.signature(getattr(uncounted.Nothing, name)).parameters)
        if name != "labels":  # ours are positional
            assert any(
                taken == list(inspect.signature(one).parameters)[: len(taken)] for one in real
            )
