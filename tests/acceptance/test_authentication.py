"""Who may enter, and who may stay: real sockets, real processes."""

from __future__ import annotations

import asyncio
import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from websockets.exceptions import InvalidMessage, InvalidStatus

from tests.support.api_server import Request, api_server, silence, status
from tests.support.gateway import API_KEY, JWT_SECRET, SHORT, Gateway, running
from tests.support.peers import V1, Peer, client_at, refused
from tests.support.valkey import Server

NOW = int(time.time())
RSA = rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


def token(key: Any = JWT_SECRET, algorithm: str = "HS256", **claims: Any) -> str:
    body = {
        "sub": "42",
        "iat": NOW - 60,
        "exp": NOW + 3_600,
        "aud": "gateway",
        "iss": "us",
    } | claims
    return jwt.encode({k: v for k, v in body.items() if v is not None}, key, algorithm=algorithm)


def unsigned() -> str:
    parts = (
        {"alg": "none", "typ": "JWT"},
        {"sub": "42", "exp": NOW + 3_600, "aud": "gateway", "iss": "us"},
    )
    encoded = [base64.urlsafe_b64encode(json.dumps(one).encode()).rstrip(b"=") for one in parts]
    return b".".join([*encoded, b""]).decode()


def bearer(given: str) -> dict[str, Any]:
    return {"additional_headers": {"Authorization": f"Bearer {given}"}}


async def enter(gateway: Gateway, given: str) -> Peer:
    return await client_at_with(gateway.client_url(), given)


async def client_at_with(url: str, given: str) -> Peer:
    return await client_at(url, subprotocols=[V1, f"gateway.bearer.{given}"])


STRICT = SHORT | {"AUTH": "jwt", "JWT_AUDIENCE": "gateway", "JWT_ISSUER": "us"}

BAD = {
    "expired": token(exp=NOW - 60),
    "future": token(nbf=NOW + 3_600),
    "issued in the future": token(iat=NOW + 3_600),
    "wrong audience": token(aud="others"),
    "no audience": token(aud=None),
    "wrong issuer": token(iss="them"),
    "wrong key": token("another secret that is long enough for it"),
    "alg none": unsigned(),
    "swapped algorithm": token(RSA, "RS256"),
    "truncated": token()[:-4],
    "no signature": token().rpartition(".")[0] + ".",
    "no end": token(exp=None),
    "no user": token(sub=None),
    "an empty user": token(sub=""),
    "a large info": token(info="x" * 1_100),
    "a login that is none": token(sid=7),
}


async def test_every_way_in_by_a_token(tmp_path: Path) -> None:
    with running(tmp_path / "data", **STRICT) as gateway:
        for how in ("subprotocol", "header"):
            options = bearer(token()) if how == "header" else {}
            if how == "subprotocol":
                options = {"subprotocols": [V1, f"gateway.bearer.{token()}"]}
            peer = await client_at(gateway.client_url(), **options)
            assert peer.welcome["user"] == "42"
        again = await enter(gateway, token(jti="once"))
        assert (await enter(gateway, token(jti="once"))).welcome["user"] == "42", "until it ends"
        await again.close()
        for name, bad in BAD.items():
            for options in (bearer(bad), {"subprotocols": [V1, f"gateway.bearer.{bad}"]}):
                code, reason = await refused(gateway.client_url(), **options)
                assert (code, reason.split(":")[0]) == (4501, "token"), (name, code, reason)
        # Insecure is off, a query is no place for a token, and a bad token is not overlooked.
        for params in ({}, {"user_id": "42"}, {"token": token()}):
            assert (await refused(gateway.client_url(**params)))[0] == 4501
        assert (await refused(gateway.client_url(user_id="7"), **bearer(token())))[0] == 4501
        log = gateway.log()
        assert "Traceback" not in log
        assert len(re.findall(r"refused .*audit=", log)) >= 2 * len(BAD)
        signatures = [one.rpartition(".")[2] for one in (token(), *BAD.values())]
        assert not [one for one in signatures if one and one in log], "no token in the log"


async def test_a_token_of_100_kb_is_no_more_than_a_refusal(tmp_path: Path) -> None:
    with running(tmp_path / "data", **STRICT) as gateway:
        # The server reads no such head: 431, or whoever still writes hears of the end only.
        with pytest.raises((InvalidMessage, InvalidStatus), match=r"431|not receive"):
            await client_at(gateway.client_url(), **bearer("x" * 102_400))
        assert (await enter(gateway, token())).welcome["user"] == "42"
        assert "Traceback" not in gateway.log()


async def test_a_token_ends_and_a_new_one_keeps_the_socket(tmp_path: Path) -> None:
    with running(tmp_path / "data", **STRICT, TOKEN_GRACE="0.5", JWT_LEEWAY="0.5") as gateway:
        soon = int(time.time()) + 5
        ends, stays = await enter(gateway, token(exp=soon)), await enter(gateway, token(exp=soon))
        assert (await stays.ask(type="refresh", token=token(exp=soon + 600)))["ok"]
        assert (await ends.closed(20))[0] == 4003  # as it is by default, after 25 s
        assert time.time() >= soon + 1, "the leeway, and the grace"
        assert (await stays.ask(type="sessions"))["ok"]


async def test_what_is_revoked_ends_on_every_node(tmp_path: Path, redis: Server) -> None:
    more = SHORT | {"REDIS_URL": redis.url}
    with (
        running(tmp_path / "a", **more, NODE_NAME="a") as one,
        running(tmp_path / "b", **more, NODE_NAME="b") as two,
    ):
        phone = await enter(one, token(sid="phone"))
        laptop = await enter(two, token(sid="laptop"))
        other = await enter(two, token(sub="7"))
        headers = {"Authorization": f"Bearer {API_KEY}"}
        base = f"http://127.0.0.1:{one.worker_port}/api/v1"
        async with httpx.AsyncClient(base_url=base, headers=headers) as http:
            shown = (await http.get("/users/42")).json()["sessions"]
            assert {session["sid"] for session in shown} == {"phone", "laptop"}
            done = await http.post("/users/42/revocations", json={"sid": "phone"})
            assert done.json() == {"closed": 1, "unconfirmed": 0}
            assert (await phone.closed())[0] == 4508
            assert (await refused(two.client_url(), **bearer(token(sid="phone"))))[0] == 4508
            done = await http.post("/users/42/revocations", json={})
            assert done.json() == {"closed": 1, "unconfirmed": 0}
            assert (await laptop.closed())[0] == 4508
            assert (await refused(one.client_url(), **bearer(token())))[0] == 4508
            fresh = await enter(one, token(iat=int(time.time()) + 2))
            assert fresh.welcome["user"] == "42"
            blocked = await http.put("/users/42/block", json={"until": time.time() + 60})
            assert blocked.json() == {"closed": 1, "unconfirmed": 0}
            assert (await fresh.closed())[0] == 4507
            assert (await http.delete("/users/42/block")).json() == {"unblocked": True}
            both = await http.post("/users/42/revocations", json={"sid": "a", "jti": "b"})
            assert both.status_code == 422
        assert (await other.ask(type="sessions"))["ok"]
        for event in ("revoked", "blocked", "unblocked"):
            assert re.search(rf"\b{event}\b.*audit=", one.log()), event


async def test_what_happens_to_a_django_user_ends_their_sockets(
    tmp_path: Path, redis: Server
) -> None:
    """From another process, as the API server is one."""
    more = SHORT | {"REDIS_URL": redis.url, "DJANGO_ACCOUNTS": "true"}
    with running(tmp_path / "data", **more) as gateway:
        made = gateway.manage(
            "shell",
            "--no-imports",
            "-c",
            "from django.contrib.auth.models import User; "
            "print('id', User.objects.create_user('kim', password='p').pk)",
        )
        id = made.stdout.split()[-1]
        peer, other = await enter(gateway, token(sub=id)), await enter(gateway, token(sub="x"))
        gateway.manage(
            "shell",
            "--no-imports",
            "-c",
            "from django.contrib.auth.models import User; u = User.objects.get(username='kim'); "
            "u.is_active = False; u.save()",
        )
        assert (await peer.closed())[0] == 4508
        assert (await refused(gateway.client_url(), **bearer(token(sub=id))))[0] == 4508
        assert (await other.ask(type="sessions"))["ok"]


SIGN_IN = """
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
user = User.objects.create_user("kim", password="p")
store = SessionStore()
store[SESSION_KEY], store[HASH_SESSION_KEY] = str(user.pk), user.get_session_auth_hash()
store[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
store.save()
print("id", user.pk, store.session_key)
"""

SIGN_OUT = """
from django.contrib.auth import logout
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.http import HttpRequest
request = HttpRequest()
request.session, request.user = SessionStore("KEY"), User.objects.get()
logout(request)
"""


async def test_a_django_session_and_its_end(tmp_path: Path, redis: Server) -> None:
    more = SHORT | {"REDIS_URL": redis.url, "AUTH": "session", "DJANGO_ACCOUNTS": "true"}
    with running(tmp_path / "data", **more) as gateway:
        signed_in = gateway.manage("shell", "--no-imports", "-c", SIGN_IN).stdout.split()
        user, key = signed_in[-2:]
        url, own = gateway.client_url(), f"http://127.0.0.1:{gateway.client_port}"
        cookie = {"Cookie": f"sessionid={key}"}
        peer = await client_at(url, additional_headers=cookie, origin=own)
        assert peer.welcome["user"] == user
        # The same cookie from a program, from another port's page, and under the admin's name.
        assert (await refused(url, additional_headers=cookie))[0] == 4501
        for port in (gateway.worker_port, 3000):
            with pytest.raises(InvalidStatus, match="403"):
                page = f"http://localhost:{port}"
                await client_at(url, additional_headers=cookie, origin=page)
        admin = {"Cookie": f"gateway_admin_session={key}"}
        assert (await refused(url, additional_headers=admin, origin=own))[0] == 4501
        gateway.manage("shell", "--no-imports", "-c", SIGN_OUT.replace("KEY", key))
        assert (await peer.closed())[0] == 4508
        assert (await refused(url, additional_headers=cookie, origin=own))[0] == 4501
        assert key not in gateway.log()


SIGN_IN_AT_THE_SITE = """
from django.contrib.auth.models import User
from django.test import Client
user, visitor = User.objects.create_user("kim", password="p"), Client()
visitor.force_login(user)
print("id", user.pk, visitor.cookies["shop"].value)
"""

SIGN_OUT_OF_THE_SITE = """
import time
from django.contrib.auth import get_user, logout
from django.contrib.sessions.backends.file import SessionStore
from django.http import HttpRequest
request = HttpRequest()
request.session = SessionStore("KEY")
request.user = get_user(request)
before = time.monotonic()
logout(request)
print("took", time.monotonic() - before)
"""


async def test_a_session_of_the_project_and_its_end(tmp_path: Path, redis: Server) -> None:
    """Rules 6 to 8: any engine; a logout in another process of the project, where no node runs."""
    more = SHORT | {"REDIS_URL": redis.url, "AUTH": "session,jwt"}
    more["DJANGO_SETTINGS_MODULE"] = "tests.acceptance.own_sessions_settings"
    with running(tmp_path / "data", **more) as gateway:
        made = gateway.manage("shell", "--no-imports", "-c", SIGN_IN_AT_THE_SITE)
        user, key = made.stdout.split()[-2:]
        own = f"http://127.0.0.1:{gateway.client_port}"
        given: dict[str, Any] = {"additional_headers": {"Cookie": f"shop={key}"}, "origin": own}
        peer = await client_at(gateway.client_url(), **given)
        assert peer.welcome["user"] == user
        assert (await refused(gateway.client_url(), **given | {"origin": None}))[0] == 4501
        sign_out = SIGN_OUT_OF_THE_SITE.replace("KEY", key)
        done = gateway.manage("shell", "--no-imports", "-c", sign_out)
        assert (await peer.closed())[0] == 4508
        assert float(done.stdout.split()[-1]) < 10, "a second, and what the machine adds"
        assert (await refused(gateway.client_url(), **given))[0] == 4501
        assert key not in gateway.log() and "Traceback" not in gateway.log()


async def test_a_gateway_without_the_tables_of_sessions_does_not_start(tmp_path: Path) -> None:
    """Rule 9."""
    (tmp_path / "api.sqlite3").touch()
    database = f"sqlite:///{tmp_path / 'api.sqlite3'}"
    gateway = Gateway(tmp_path / "data", AUTH="session", SESSION_DATABASE_URL=database)
    gateway.migrate()
    done = gateway.manage("serve", "--client-port=0", "--worker-port=0", check=False)
    said = "the database has no django_session and no auth_user (SESSION_DATABASE_URL names it)"
    assert said in done.stderr and "use AUTH=jwt or AUTH=proxy" in done.stderr
    assert done.returncode == 1


async def test_keys_that_the_issuer_publishes(tmp_path: Path) -> None:
    entry = RSAAlgorithm.to_jwk(RSA.public_key(), as_dict=True) | {"kid": "k"}
    async with api_server() as issuer:
        issuer.answer = status(200, body=json.dumps({"keys": [entry]}).encode())
        url = f"http://127.0.0.1:{issuer.port}/keys"
        with running(tmp_path / "data", **STRICT, JWT_SECRET="", JWT_JWKS_URL=url) as gateway:
            assert (await enter(gateway, token(RSA, "RS256"))).welcome["user"] == "42"
            assert (await refused(gateway.client_url(), **bearer(token())))[0] == 4501
            await issuer.stop()
            assert (await enter(gateway, token(RSA, "RS256"))).welcome["user"] == "42"
            await issuer.start()


async def test_the_api_server_is_asked(tmp_path: Path) -> None:
    async with api_server() as platform:
        platform.answer = status(200, body=json.dumps({"user": "42", "info": {"a": 1}}).encode())
        more = SHORT | {
            "AUTH": "proxy",
            "API_SERVER_URL": f"http://127.0.0.1:{platform.port}",
            "AUTH_PROXY_CACHE": "0",
        }
        with running(tmp_path / "data", **more) as gateway:
            url = gateway.client_url()
            own = f"http://127.0.0.1:{gateway.client_port}"
            cookie = {"additional_headers": {"Cookie": "sessionid=s3cr3t-c00kie"}, "origin": own}
            peer = await client_at(url, **cookie)
            assert (await peer.ask(type="sessions"))["ok"] and peer.welcome["user"] == "42"
            assert platform.requests[0].headers["cookie"] == "sessionid=s3cr3t-c00kie"
            # A page of another port of this host has the cookie as well.
            cookie["origin"] = f"http://localhost:{gateway.worker_port}"
            with pytest.raises(InvalidStatus, match="403"):
                await client_at(url, **cookie)
            del cookie["origin"]
            assert (await refused(url, **cookie))[0] == 4501
            assert (await client_at(url, **bearer("a token of theirs"))).welcome["user"] == "42"
            platform.answer = status(401)
            assert (await refused(url, **bearer("t")))[0] == 4501
            platform.answer = status(503)
            for _ in range(7):
                assert (await refused(url, **bearer("t")))[0] == 1013
            assert (await peer.ask(type="sessions"))["ok"], "who is in stays"
            assert "s3cr3t" not in gateway.log() and "left alone" in gateway.log()


async def test_what_strangers_are_answered_locks_nobody_out(tmp_path: Path) -> None:
    """The API server sends whoever it does not know to its page for signing in."""
    async with api_server() as platform:

        async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
            given = request.headers["authorization"].removeprefix("Bearer ")
            told = given.partition("-")[0]
            if told == "slow":
                return await silence(request, writer)
            if told == "good":
                known = status(200, body=json.dumps({"user": "42"}).encode())
                return await known(request, writer)
            await status(int(told), "Location: /login")(request, writer)

        platform.answer = answer
        more = SHORT | {
            "AUTH": "proxy",
            "API_SERVER_URL": f"http://127.0.0.1:{platform.port}",
            "AUTH_PROXY_CACHE": "0",
            "AUTH_PROXY_TIMEOUT": "3",
        }
        with running(tmp_path / "data", **more) as gateway:
            url = gateway.client_url()
            for told in ("302", "404", "429", "500", "slow"):
                # The same token is asked about once for all who show it at the same time.
                crowd = (refused(url, **bearer(f"{told}-{n}")) for n in range(7))
                assert {code for code, _ in await asyncio.gather(*crowd)} == {1013}
                assert (await client_at(url, **bearer("good"))).welcome["user"] == "42"
            assert (await refused(url, **bearer("204")))[0] == 4501
            log = gateway.log()
            assert "left alone" not in log
            assert log.count("does not say who a client is") == 5, "once for each"
