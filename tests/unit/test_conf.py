"""The typed settings: what a project writes, what it leaves out, what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
from django.conf import LazySettings
from django.core.exceptions import ImproperlyConfigured

from sockets.base import under_test
from sockets.base.client_address import Trusted, parse_trusted
from sockets.base.contradictions import MAY_BE_ZERO
from sockets.conf import Conf, WrongSettings, get_conf
from sockets.environment import Variables, gather
from sockets.types import Surface


def test_what_is_left_out_has_its_default(settings: LazySettings) -> None:
    settings.GATEWAY = {"heartbeat": 3.0}
    assert get_conf() == Conf(heartbeat=3.0, environment="production"), "DEBUG is false"


def test_a_project_without_the_setting_has_all_defaults(settings: LazySettings) -> None:
    del settings.GATEWAY
    settings.DEBUG = True
    assert get_conf() == Conf()
    assert get_conf().auth == ()


def test_it_is_read_once_and_forgotten_when_the_setting_changes(settings: LazySettings) -> None:
    settings.GATEWAY = {"heartbeat": 3.0}
    first = get_conf()
    settings.APPEND_SLASH = False
    assert get_conf() is first
    settings.GATEWAY = {"heartbeat": 4.0}
    assert (first.heartbeat, get_conf().heartbeat) == (3.0, 4.0)


def test_a_setting_that_does_not_exist_is_named(settings: LazySettings) -> None:
    settings.GATEWAY = {"heartbeat": 3.0, "hartbeat": 3.0}
    with pytest.raises(ImproperlyConfigured, match="unknown setting 'hartbeat'"):
        get_conf()


def test_all_that_is_wrong_is_told(settings: LazySettings) -> None:
    settings.GATEWAY = {"hartbeat": 3.0, "lease_ttl": 1, "inbound_low": 64, "webhookz": ()}
    with pytest.raises(WrongSettings) as error:
        get_conf()
    lines = str(error.value).splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "GATEWAY",
        "GATEWAY",
        "LEASE_TTL",
        "INBOUND_LOW",
    ]
    assert [one.text for one in error.value.faults] == lines


@pytest.mark.parametrize(
    ("ttl", "renew", "good"), [(30, 15, True), (29.9, 15, False), (2, 1, True)]
)
def test_a_lease_outlives_a_late_renewal(ttl: float, renew: float, good: bool) -> None:
    if good:
        assert Conf(lease_ttl=ttl, lease_renew=renew).lease_ttl == ttl
    else:
        with pytest.raises(ImproperlyConfigured, match=r"LEASE_TTL: 29.9 s .* LEASE_RENEW"):
            Conf(lease_ttl=ttl, lease_renew=renew)


def test_a_node_is_not_called_as_one_whose_name_was_taken() -> None:
    with pytest.raises(ImproperlyConfigured, match=r"NODE_NAME: 'a~b' .* choose one without"):
        Conf(node_name="a~b")
    with pytest.raises(ImproperlyConfigured, match=r"NODE_NAME: 'a:b' .* choose one without"):
        Conf(node_name="a:b")
    with pytest.raises(ImproperlyConfigured, match=r"NODE_NAME: 'a~k3x9' .* choose one without"):
        Conf(node_name="a~k3x9")
    assert Conf(node_name="a~2").node_name == "a~2"  # the second process of an ASGI server


def test_it_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Conf().heartbeat = 1.0  # type: ignore[misc]


def test_secrets_are_not_printed() -> None:
    digest = "5ec2e7" + "0" * 58
    conf = Conf(jwt_secret="hidden-1", worker_keys={"w": digest}, api_keys={"a": digest})
    assert "hidden" not in repr(conf) and "5ec2e7" not in repr(conf)
    assert "hidden" not in repr(Conf(webhook_secret="hidden-4"))


@pytest.mark.parametrize("server", ["http://api:8000/v1", "http://api:8000/v1/"])
@pytest.mark.parametrize("path", ["/a/b/", "a/b/", "//a/b/"])
def test_webhooks_go_to_a_path_of_the_api_server(server: str, path: str) -> None:
    conf = Conf(api_server_url=server, webhook_path=path)
    assert conf.webhook_url == "http://api:8000/v1/a/b/"


def test_webhooks_need_an_api_server() -> None:
    with pytest.raises(ImproperlyConfigured, match="API_SERVER_URL"):
        _ = Conf().webhook_url


def test_an_unknown_port_is_never_private() -> None:
    assert Conf().surface is Surface.PUBLIC


def test_the_defaults_are_those_of_the_protocol() -> None:
    conf = Conf()
    assert (conf.client_port, conf.worker_port) == (4000, 4001)
    assert (conf.heartbeat, conf.pong_timeout, conf.slow_timeout) == (25, 10, 10)
    assert (conf.lease_renew, conf.lease_ttl) == (10, 30)
    assert (conf.task_accept_timeout, conf.task_grace) == (5, 30)
    assert (conf.task_assign_timeout, conf.task_timeout) == (15, 300)
    assert (conf.task_keep, conf.task_history) == (3600, 1_000)
    assert (conf.history_size, conf.history_ttl) == (1_000, 24 * 3600)
    assert (conf.record_ttl, conf.idempotency_ttl) == (30 * 24 * 3600, 300)
    assert (conf.body_public, conf.body_demo, conf.body_private) == (65_536, 20 << 20, 8 << 20)
    assert (conf.inbound_high, conf.inbound_low) == (64, 16)
    assert (conf.webhooks, conf.webhook_path) == ((), "/gateway/events")
    assert (conf.webhook_queue, conf.webhook_timeout) == (10_000, 5)
    assert conf.query_token is False


@pytest.mark.parametrize(
    ("given", "debug", "found"),
    [
        ({}, True, "development"),
        ({}, False, "production"),
        ({"environment": "development"}, True, "development"),
        ({"environment": "development"}, False, "production"),
        ({"environment": "test"}, False, "test"),
        ({"environment": "production"}, True, "production"),
    ],
)
def test_it_is_production_without_debug(
    settings: LazySettings, given: dict[str, str], debug: bool, found: str
) -> None:
    """Rule 1."""
    settings.DEBUG = debug
    settings.GATEWAY = given
    assert get_conf().environment == found


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("auth", ["jwt", "session"], ("jwt", "session")),
        ("heartbeat", 5, 5.0),
        ("data_dir", "/srv/gw", Path("/srv/gw")),
        ("surface", "both", Surface.BOTH),
        ("trusted_proxies", 1, Trusted(count=1)),
        ("trusted_proxies", "10.0.0.0/8", parse_trusted(["10.0.0.0/8"])),
        ("trusted_proxies", ["10.0.0.0/8", "::1"], parse_trusted(["10.0.0.0/8", "::1"])),
        ("jwt_secrets", [["k", "s"]], (("k", "s"),)),
    ],
)
def test_what_is_written_by_hand_gets_its_form(
    settings: LazySettings, name: str, value: object, kept: object
) -> None:
    settings.GATEWAY = {name: value}
    found = getattr(get_conf(), name)
    assert (found, type(found)) == (kept, type(kept))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("auth", "jwt"),
        ("auth", ["ldap"]),
        ("heartbeat", "25s"),
        ("heartbeat", 0),
        ("heartbeat", float("nan")),
        ("client_rate", -1),
        ("max_sessions", 1.5),
        ("demo", "yes"),
        ("data_dir", 5),
        ("surface", "all"),
        ("environment", "staging"),
        ("trusted_proxies", "nginx"),
        ("trusted_proxies", True),
        ("webhooks", ["user_away"]),
        ("worker_keys", {"w": "hunter2"}),
        ("api_keys", ["hunter2"]),
        ("jwt_secret", b"hunter2"),
    ],
)
def test_what_has_another_form_is_told_without_its_value(
    settings: LazySettings, name: str, value: object
) -> None:
    settings.GATEWAY = {name: value}
    with pytest.raises(WrongSettings) as error:
        get_conf()
    (fault,) = error.value.faults
    assert name.upper() in fault.names and name in fault.text.lower()
    assert "hunter2" not in fault.text and ";" in fault.text


def test_a_setting_that_is_nearly_one_is_guessed(settings: LazySettings) -> None:
    settings.GATEWAY = {"HEARTBEAT": 5}
    with pytest.raises(WrongSettings, match="perhaps 'heartbeat' is meant"):
        get_conf()


@pytest.mark.parametrize("given", [None, [], "auth=jwt"])
def test_the_setting_is_a_dictionary(settings: LazySettings, given: object) -> None:
    settings.GATEWAY = given
    with pytest.raises(WrongSettings, match="it is no dictionary"):
        get_conf()


def test_the_variables_and_the_settings_agree_on_what_may_be_zero() -> None:
    for one in dataclasses.fields(Conf):
        if type(getattr(Conf(), one.name)) not in (int, float):
            continue
        source = Variables({one.name.upper(): "0"}, patient=True)
        gather(source)
        refused = one.name.upper() in source.wrong
        assert refused is not (one.name in MAY_BE_ZERO), one.name


@pytest.mark.parametrize(
    ("auth", "sessions", "given", "follows"),
    [
        (("session",), "project", None, True),
        (("jwt", "session"), "project", None, True),
        (("session",), "tables", None, False),
        (("jwt",), "project", None, False),
        (("session",), "project", False, False),
        (("jwt",), "tables", True, True),
    ],
)
def test_whose_users_are_followed(
    auth: tuple[str, ...], sessions: str, given: bool | None, follows: bool
) -> None:
    """Rule 8: where nothing is said, those of a project whose own sessions count."""
    conf = Conf(auth=auth, sessions=sessions, django_accounts=given)
    assert conf.follows_accounts is follows


def test_sessions_are_of_two_kinds() -> None:
    """Rule 6."""
    with pytest.raises(WrongSettings, match="sessions is 'table'; use 'project'"):
        Conf(sessions="table")


def test_a_project_s_own_tests_are_no_production(settings: LazySettings) -> None:
    """Django sets DEBUG to false for them, and a test may override GATEWAY."""
    under_test.ignore(False)
    try:
        settings.DEBUG = False
        settings.GATEWAY = {"auth": ["insecure"]}
        assert get_conf().environment == "test"
        settings.GATEWAY = {"environment": "production"}
        assert get_conf().environment == "production"
    finally:
        under_test.ignore()
