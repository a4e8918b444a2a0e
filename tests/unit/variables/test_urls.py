"""Addresses: URLs, paths, origins, servers of Redis."""

from __future__ import annotations

import pytest

from sockets.variables.faults import Wrong
from tests.support.variables import env, fault


class TestUrls:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("ws://localhost:4000", "ws://localhost:4000"),
            ("wss://gw.example/ws/client/", "wss://gw.example/ws/client"),
            ("ws://[::1]:4000", "ws://[::1]:4000"),
        ],
    )
    def test_url(self, text: str, url: str) -> None:
        assert env(A=text).url("A", ("wss", "ws")) == url

    @pytest.mark.parametrize(
        "text",
        [
            "localhost:4000",
            "http://localhost",
            "ws://",
            "ws://host:0",
            "ws://host:99999",
            "ws://host:port",
            "ws://a b",
            "ws://user:hunter2@host",
            "ws://host/?a=1",
            "ws://host/#a",
            "ws://[::1",
        ],
    )
    def test_no_url(self, text: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).url("A", ("wss", "ws"))
        assert "hunter2" not in fault(error)

    @pytest.mark.parametrize("text", ["/", "/gateway/events", "/a%20b/c-d_e.f~g/"])
    def test_path(self, text: str) -> None:
        assert env(A=text).url_path("A", "/default") == text
        assert env().url_path("A", "/default") == "/default"

    @pytest.mark.parametrize("text", ["events", "/a?b=c", "/a#b", "/a b", "/ä", "/a\x00b", "/a\\b"])
    def test_no_path(self, text: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).url_path("A", "/default")
        assert fault(error).startswith("A: ")

    @pytest.mark.parametrize(
        ("text", "origins"),
        [
            ("*", ("*",)),
            ("http://localhost:3000", ("http://localhost:3000",)),
            ("HTTPS://App.Example:443", ("https://app.example",)),
            ("http://a.example:443", ("http://a.example:443",)),
            ("http://[::1]:3000,https://b", ("http://[::1]:3000", "https://b")),
            ("https://한국.example", ("https://xn--3e0b707e.example",)),
            ("https://*.Example.com:443", ("https://*.example.com",)),
            (
                "Capacitor://Localhost, tauri://localhost",
                ("capacitor://localhost", "tauri://localhost"),
            ),
            ("chrome-extension://abcd:80", ("chrome-extension://abcd:80",)),
        ],
    )
    def test_origins_as_browsers_send_them(self, text: str, origins: tuple[str, ...]) -> None:
        assert env(A=text).origins("A", below=True) == origins

    def test_subdomains_only_where_they_are_meant(self) -> None:
        with pytest.raises(Wrong) as error:
            env(A="https://*.example.com").origins("A")
        assert "more than one origin" in fault(error)

    def test_apps_only_where_they_are_meant(self) -> None:
        with pytest.raises(Wrong) as error:
            env(A="capacitor://localhost").origins("A")
        assert fault(error) == (
            "A: 'capacitor://localhost' is the origin of an app; list http and https only"
        )

    @pytest.mark.parametrize("text", ["null", "NULL", "https://a.example,null"])
    def test_null_comes_with_its_remedy(self, text: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).origins("A", below=True)
        assert "never let in; serve those pages by http or https, and list" in fault(error)

    @pytest.mark.parametrize(
        "text",
        [
            "localhost:3000",
            "https://a.example/",
            "https://a.example/path",
            "https://*.example",
            "*,https://a.example",
            "null",
            "ws://a.example",
            "https://user@a.example",
            "https://a.example?",
            "https://admin:hunter2@a.example",
            "https://" + "a" * 70_000,
        ],
    )
    def test_no_origin(self, text: str) -> None:
        with pytest.raises(Wrong) as error:
            env(A=text).origins("A", below=True)
        assert "hunter2" not in fault(error)
        assert len(fault(error)) < 400

    def test_redis(self) -> None:
        assert env(A="rediss://:pw@host:6379/0").redis_url("A")
        assert env(A="unix:///run/redis.sock").redis_url("A")
        with pytest.raises(Wrong) as error:
            env(A="http://:hunter2@host").redis_url("A")
        assert "hunter2" not in fault(error)
