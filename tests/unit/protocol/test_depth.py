"""How deep JSON may be nested, on any Python."""

from __future__ import annotations

import pytest

from sockets.protocol.depth import DEEPEST, require_shallow

AT_MOST = {
    "arrays": "[" * DEEPEST + "]" * DEEPEST,
    "objects": '{"a":' * DEEPEST + "1" + "}" * DEEPEST,
    "brackets in a text": '["' + "[{" * DEEPEST + '"]',
    "an escaped quote": '["\\"' + "[" * 2 * DEEPEST + '"]',
    "many beside each other": "[" + "[{}]," * 2_000 + "[]]",
    "no JSON": "]" * 2_000 + "[" * (DEEPEST + 1),
}


@pytest.mark.parametrize("text", AT_MOST.values(), ids=AT_MOST)
def test_that_deep_it_may_be(text: str) -> None:
    require_shallow(text)
    require_shallow(text.encode())


@pytest.mark.parametrize("text", [f"[{AT_MOST['arrays']}]", f'{{"b":{AT_MOST["objects"]}}}'])
def test_one_more_is_too_much(text: str) -> None:
    for written in (text, text.encode()):
        with pytest.raises(RecursionError):
            require_shallow(written)


def test_whatever_its_characters_are() -> None:
    with pytest.raises(RecursionError):
        require_shallow('["\udc80", ' + "[" * DEEPEST)
