"""What commands are asked to show, and what a stranger would like a terminal to do."""

from __future__ import annotations

EVIL = "\x1b[2J\x9b31m\u202e\r\x07evil"
