"""The operations room of the admin with 20,000 live sessions: `scripts/bench operations`.

pages.py   which pages are asked for
room.py    two nodes, their clients, workers and refused ones
web.py     the web process, which asks for each page and notes what it costs
"""
