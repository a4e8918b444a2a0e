"""What operators are told: a gateway at work, and its /metrics."""

from __future__ import annotations

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.support.doubles import until
from tests.support.gateway import SHORT, Gateway, running
from tests.support.peers import client, http_get, worker
from tests.support.valkey import Server

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(gateway: Gateway) -> Samples:
    status, body = http_get(gateway.worker_port, "/metrics")
    assert status == 200
    families = text_string_to_metric_families(body.decode())
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in families
        for one in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


async def test_each_histogram_counts_on_a_node_at_work(tmp_path: Path, redis: Server) -> None:
    quick = SHORT | {"LEASE_RENEW": "1", "LEASE_TTL": "5"}
    with running(tmp_path / "data", REDIS_URL=redis.url, **quick) as gateway:
        sender = await worker(gateway)
        first = await client(gateway, "42")
        for number in range(3):
            assert (await sender.ask(type="notify", user="42", event="e", data=number))["ok"]
        await sender.ask(type="notify", user="42", event="e", durable=False)
        await first.receive_many(4)
        await first.close()
        # What is sent while its end is on its way would be delivered.
        await until(lambda: value(samples(gateway), "gateway_sessions", kind="client") == 0)
        for number in range(7):
            await sender.ask(type="notify", user="42", event="missed", data=number)
        position = {"epoch": first.welcome["epoch"], "offset": "3"}
        second = await client(gateway, "42", **position)
        await second.receive_many(7)

        def told() -> bool:
            found = samples(gateway)
            names = ("renewal_seconds", "loop_lag_seconds")
            return all(value(found, f"gateway_{name}_count") > 1 for name in names)

        await until(told, 20)
        found = samples(gateway)
        assert value(found, "gateway_ready") == 1
        assert value(found, "gateway_users") == value(found, "gateway_sessions", kind="worker") == 1
        assert value(found, "gateway_delivery_seconds_count", durable="true") == 3
        assert value(found, "gateway_delivery_seconds_count", durable="false") == 1
        assert value(found, "gateway_delivery_seconds_bucket", durable="true", le="30.0") == 3
        assert 0 <= value(found, "gateway_delivery_seconds_sum", durable="true") < 90
        assert value(found, "gateway_welcome_seconds_count", kind="client") == 2
        assert value(found, "gateway_welcome_seconds_count", kind="worker") == 1
        assert value(found, "gateway_recovered_messages_count") == 1
        assert value(found, "gateway_recovered_messages_sum") == 7
        # To register two clients and a worker, and to append ten messages.
        assert value(found, "gateway_redis_call_seconds_count") > 13
        assert 0 < value(found, "gateway_redis_call_seconds_sum") < 90
        assert 0 < value(found, "gateway_renewal_seconds_sum") < 90
        assert value(found, "gateway_loop_lag_seconds_bucket", le="+Inf") > 1
        redis.stop()
        await until(lambda: value(samples(gateway), "gateway_ready") == 0, 30)
    assert "Traceback" not in gateway.log()
