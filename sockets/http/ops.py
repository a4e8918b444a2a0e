"""What operators' machines ask: is it alive, is it ready, how is it doing."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder


@require_safe
async def healthz(request: HttpRequest) -> HttpResponse:
    """Answer 200 as long as the process answers at all, whatever Redis or the database do."""
    return JsonResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


@require_safe
async def readyz(request: HttpRequest) -> HttpResponse:
    """Answer 200 when a new session would be opened and a durable message kept; else 503, and why.

    503 before the start, while the node drains, and while Redis does not do its work (live sockets
    stay then). Of a Cluster it says how many shards take no writes.
    """
    # Late, so that asking for health does not build a node in a process that has none.
    from sockets.node.node import current_node

    node = current_node()
    reason = "it is starting or stopping" if node is None else node.unready_because
    body: dict[str, object] = {"status": "ready"}
    if reason is not None:
        body = {"status": "not ready", "reason": reason}
    elif node is not None and (shards := node.readiness.shards).refusing:
        body["shards"] = {"total": shards.total, "refusing": shards.refusing}
    response = JsonResponse(
        body, status=200 if reason is None else 503, headers={"Cache-Control": "no-store"}
    )
    response._has_been_logged = True  # type: ignore[attr-defined]  # by the node, once: no error
    return response


@require_safe
async def metrics(request: HttpRequest) -> HttpResponse:
    """Return Prometheus' text, or OpenMetrics where that is asked for. Private surface only."""
    try:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
    except (ValueError, TypeError):  # a version that is no version
        encode, content_type = choose_encoder("")
    return HttpResponse(
        encode(REGISTRY), headers={"Content-Type": content_type, "Cache-Control": "no-store"}
    )
