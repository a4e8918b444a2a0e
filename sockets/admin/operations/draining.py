"""A node is drained: its clients go to the others, and it ends."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import Http404
from django.utils.translation import npgettext, pgettext, pgettext_lazy

from sockets.admin.operations import source
from sockets.admin.operations.actions import Action, Affected, Done, one_of
from sockets.admin.operations.parts import outside
from sockets.admin.operations.viewer import Viewer
from sockets.models import Node


class DrainNode(Action):
    """As SIGTERM does."""

    name = "drain"
    permission = "drain_node"
    title = pgettext_lazy("gateway", "Drain a node")
    button = pgettext_lazy("gateway", "Drain")
    entry = "Drained by an operator"

    def subject(self, viewer: Viewer) -> dict[str, list[str]]:
        return {"node": [one_of(viewer.request, "node")]}

    def affected(self, viewer: Viewer, subject: dict[str, list[str]]) -> Affected:
        (name,) = subject["node"]
        alive = source.nodes()
        node = next((one for one in alive if one.name == name), None)
        if node is None:
            raise Http404("no such node is alive")
        text = npgettext(
            "gateway",
            "%(count)d session moves to the other nodes, and the process ends.",
            "%(count)d sessions move to the other nodes, and the process ends.",
            node.clients + node.workers,
        )
        told = text % {"count": node.clients + node.workers}
        if len(alive) == 1:
            told += " " + pgettext("gateway", "It is the only node: nobody can connect then.")
        return Affected(told, [outside(name, below=node.host)])

    def perform(self, viewer: Viewer, subject: dict[str, list[str]], given: dict[str, Any]) -> Done:
        (name,) = subject["node"]
        if source.drain_node(name):
            text = pgettext("gateway", "The node has heard it, and drains.")
            return Done([(messages.SUCCESS, text)], [Node(name=name)], {"heard": True})
        text = pgettext("gateway", "The node did not answer, or is gone.")
        return Done([(messages.WARNING, text)], details={"heard": False})

    def back(self, viewer: Viewer, subject: dict[str, list[str]]) -> str:
        return viewer.url("overview_changelist")
