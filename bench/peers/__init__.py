"""The gateway beside what it replaces, and beside its peers: `scripts/bench peers --help`.

`__main__.py` plans rounds; `rounds.py` and `storm.py` say what is measured in one; `running.py`
starts a contestant of `contestants.py` on a core of its own; `load.c` is the load and checks every
delivery; `ratios.py`, `figures.py` and `report.py` make tables of it. What each figure means is in
`bench/README.md`.
"""
