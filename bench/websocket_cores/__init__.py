"""The WebSocket protocol after the upgrade in other forms, measured and not built in:
`scripts/bench cores --help`.

`server.py` is our server with one of them in the place of `GatewayWebSocket`, and an echo on it.
`socket.py` is what a socket of ours has to keep whatever takes its frames apart;
`of_websockets.py` and `of_picows.py` are the two that could. `on_loop.py` gives either the loop's
own transport in the place of Twisted's. What came of it is in `bench/RESULTS.md`.
"""
