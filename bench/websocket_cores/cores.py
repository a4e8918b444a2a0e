"""Who is compared."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Core:
    """One form of the protocol after the upgrade. `module`: where its class `name` is; "": what the
    gateway has today. `is_on_loop`: on the loop's transport instead of Twisted's."""

    title: str
    module: str = ""
    name: str = ""
    is_on_loop: bool = False
    needs: str = ""
    """A package that is in no lock of ours."""


_WEBSOCKETS = ("bench.websocket_cores.of_websockets", "WebsocketsSocket")
_PICOWS = ("bench.websocket_cores.of_picows", "PicowsSocket")

CORES = {
    "autobahn": Core("autobahn, as it is"),
    "websockets": Core("`websockets`", *_WEBSOCKETS),
    "picows": Core("`picows`", *_PICOWS, needs="picows"),
    "websockets-loop": Core("`websockets`, loop's transport", *_WEBSOCKETS, is_on_loop=True),
    "picows-loop": Core("`picows`, loop's transport", *_PICOWS, is_on_loop=True, needs="picows"),
}
