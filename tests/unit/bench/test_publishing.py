"""What was heard of a publisher, as a template."""

from __future__ import annotations

import pytest

from bench.peers.load import ID, STAMP, USER, pieces
from bench.peers.publishing import NotHeard, command, commands, template

BODY = f'{{"id":"01K5ABCDEFGHJKMNPQRSTVWXYZ","data":{{"stamp":"{STAMP}"}}}}'


def test_commands_are_told_apart_whatever_their_arguments_hold() -> None:
    sent = command("hello", "3") + command("EVALSHA", "a\r\n*1\r\n$4\r\nPING", "b")
    assert [(name, len(text)) for name, text in commands(sent)] == [
        (b"HELLO", len(command("hello", "3"))),
        (b"EVALSHA", len(sent) - len(command("hello", "3"))),
    ]


def test_what_a_client_library_sends_by_itself_is_left_out() -> None:
    publish = command("PUBLISH", f"user:{USER}", STAMP)
    setting = command("CLIENT", "SETINFO", "LIB-NAME", "x")
    assert template(command("HELLO", "3") + setting + publish) == publish


def test_the_id_of_a_message_is_replaced_wherever_it_is() -> None:
    sent = command("EVALSHA", "receipt:01K5ABCDEFGHJKMNPQRSTVWXYZ", BODY)
    assert template(sent).count(ID.encode()) == 2


def test_a_publisher_that_sends_no_stamp_is_an_error() -> None:
    with pytest.raises(NotHeard, match="no stamp"):
        template(command("PUBLISH", "a", "b"))


def test_templates_are_told_to_the_generator_in_hex_and_names() -> None:
    words = pieces(f"a{USER}b{STAMP}<token>{ID}".encode()).split(" ")
    assert words == [b"a".hex(), "USER", b"b".hex(), "STAMP", "TOKEN", "ID"]


def test_what_stands_for_a_value_is_as_long_as_the_value() -> None:
    """Lengths are written in what was heard, and stay as they are."""
    assert (len(USER), len(STAMP), len(ID)) == (7, 47, 26)
