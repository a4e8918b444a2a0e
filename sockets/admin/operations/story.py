"""Why a message was, or was not, delivered: the gateway's explanation in words, with its times."""

from __future__ import annotations

from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import pgettext, pgettext_lazy

from sockets.admin.operations import words
from sockets.admin.operations.known import silence
from sockets.admin.operations.parts import (
    Cell,
    Column,
    Facts,
    Part,
    Row,
    Story,
    Table,
    outside,
    tag,
    visible,
)
from sockets.admin.shown import CODES, Tone
from sockets.deliveries import (
    ClientDelivery,
    Explanation,
    Fate,
    MessageFacts,
    Standing,
    Step,
    StepCode,
)

STANDINGS: Final[dict[Standing, tuple[Promise, Tone]]] = {
    Standing.ACKNOWLEDGED: (pgettext_lazy("gateway", "acknowledged"), Tone.GOOD),
    Standing.SENT: (pgettext_lazy("gateway", "sent, not acknowledged"), Tone.WARNING),
    Standing.RECOVERED: (pgettext_lazy("gateway", "recovered, not acknowledged"), Tone.WARNING),
    Standing.NOT_ACKNOWLEDGED: (pgettext_lazy("gateway", "not sent"), Tone.BAD),
    Standing.CLAIMED: (pgettext_lazy("gateway", "has it, as it says itself"), Tone.GOOD),
    Standing.REPLACED_OR_EXPIRED: (pgettext_lazy("gateway", "replaced or expired"), Tone.QUIET),
    Standing.EXCLUDED: (pgettext_lazy("gateway", "excluded"), Tone.QUIET),
    Standing.UNKNOWN: (pgettext_lazy("gateway", "unknown"), Tone.QUIET),
}
PASSED: Final = (pgettext_lazy("gateway", "passed, not acknowledged"), Tone.QUIET)
"""A message that was removed by retention may be known by its position alone, whether it was sent
to the client itself or not."""

FATES: Final[dict[Fate, tuple[Promise, Tone]]] = {
    Fate.KEPT: (pgettext_lazy("gateway", "kept in the stream"), Tone.GOOD),
    Fate.TRIMMED: (pgettext_lazy("gateway", "not kept any more"), Tone.QUIET),
    Fate.REPLACED: (pgettext_lazy("gateway", "replaced"), Tone.QUIET),
    Fate.EXPIRED: (pgettext_lazy("gateway", "expired"), Tone.QUIET),
    Fate.REPLACED_OR_EXPIRED: (pgettext_lazy("gateway", "replaced or expired"), Tone.QUIET),
    Fate.OTHER_EPOCH: (pgettext_lazy("gateway", "of an earlier stream"), Tone.WARNING),
    Fate.NOT_THERE: (pgettext_lazy("gateway", "not there"), Tone.BAD),
}
STEPS: Final[dict[StepCode, Promise]] = {
    StepCode.APPENDED: pgettext_lazy(
        "gateway", "The message was put into the stream at offset %(offset)s: %(event)s."
    ),
    StepCode.NOT_FOUND: pgettext_lazy(
        "gateway", "No such message is kept. The newest one has offset %(head)s."
    ),
    StepCode.OTHER_EPOCH: pgettext_lazy(
        "gateway", "It belongs to epoch %(epoch)s; the stream has begun anew since (%(now)s)."
    ),
    StepCode.TRIMMED: pgettext_lazy(
        "gateway", "It is too old to be kept: only positions after offset %(floor)s are known."
    ),
    StepCode.REPLACED: pgettext_lazy(
        "gateway", "A newer message with its collapse key took its place: offset %(by)s."
    ),
    StepCode.EXPIRED: pgettext_lazy("gateway", "Its time to live was over."),
    StepCode.REPLACED_OR_EXPIRED: pgettext_lazy(
        "gateway", "It was replaced by a newer one, or its time to live was over."
    ),
    StepCode.NOBODY: pgettext_lazy("gateway", "No client of this user is known."),
    StepCode.CONNECTED: pgettext_lazy(
        "gateway",
        "The client came with position %(began)s, when the newest was %(head)s: %(recovered)s.",
    ),
    StepCode.SENT: pgettext_lazy("gateway", "Messages up to %(sent)s were sent to the client."),
    StepCode.RECOVERED: pgettext_lazy(
        "gateway", "The client came back and was sent what it had missed, up to %(sent)s."
    ),
    StepCode.ACKNOWLEDGED: pgettext_lazy(
        "gateway", "The client had acknowledged messages up to %(acked)s."
    ),
    StepCode.NOT_ACKNOWLEDGED: pgettext_lazy(
        "gateway",
        "The client had not acknowledged it: sent up to %(sent)s, acknowledged up to %(acked)s.",
    ),
    StepCode.CLAIMED: pgettext_lazy(
        "gateway", "The client came with position %(began)s, and so says that it has the message."
    ),
    StepCode.EXCLUDED: pgettext_lazy("gateway", "This client caused the message and was left out."),
    StepCode.UNKNOWN: pgettext_lazy("gateway", "Nobody knows: %(why)s."),
    StepCode.ENDED: pgettext_lazy("gateway", "The connection ended: %(code)s %(reason)s"),
    StepCode.LOST: pgettext_lazy(
        "gateway", "Nobody saw the connection end: its process died, or was cut off."
    ),
    StepCode.ONLINE: pgettext_lazy("gateway", "The user is connected now. Sessions: %(sessions)s."),
    StepCode.AWAY: pgettext_lazy("gateway", "The user is not connected."),
}
_PASSED: Final = pgettext_lazy(
    "gateway", "The client's position went past the message: it was sent messages up to %(sent)s."
)
_WHY: Final = {
    "epoch": pgettext_lazy("gateway", "the client knows another epoch"),
    "before": pgettext_lazy("gateway", "it was before what is known of the client"),
    "lost": pgettext_lazy("gateway", "its node was lost before it could write it down"),
    "silent": pgettext_lazy("gateway", "its node does not answer"),
    "not_there": pgettext_lazy("gateway", "no such message is kept"),
}
_GOOD: Final = frozenset({StepCode.ACKNOWLEDGED, StepCode.CLAIMED})
_BAD: Final = frozenset(
    {
        StepCode.NOT_FOUND,
        StepCode.NOBODY,
        StepCode.NOT_ACKNOWLEDGED,
        StepCode.LOST,
        StepCode.UNKNOWN,
    }
)


def told(found: Explanation) -> list[Part]:
    """Return the message, what became of it for each client, and the story."""
    return [_message(found.message), _clients(found), _story(found)]


def recovered(value: bool | None) -> str:
    """Return whether a client that came back missed nothing."""
    if value is None:
        return pgettext("gateway", "as a new one")
    if value:
        return pgettext("gateway", "missed nothing")
    return pgettext("gateway", "had to reload")


def _message(one: MessageFacts) -> Facts:
    facts = [
        (pgettext("gateway", "Message"), words.in_words(FATES[one.fate])),
        (pgettext("gateway", "Event"), outside(one.event or "–")),
        (pgettext("gateway", "Offset"), Cell("–" if one.offset is None else str(one.offset))),
        (pgettext("gateway", "Epoch"), outside(one.epoch, 40, fixed=True)),
        (pgettext("gateway", "Message id"), Cell(one.id or "–", fixed=True)),
        (pgettext("gateway", "Idempotency key"), outside(one.idempotency_key or "–")),
        (pgettext("gateway", "Sent"), Cell(words.at(one.at) or "–")),
    ]
    if one.expires_at is not None:
        facts.append((pgettext("gateway", "Expires"), Cell(words.at(one.expires_at))))
    if one.collapse_key:
        facts.append((pgettext("gateway", "Collapse key"), outside(one.collapse_key)))
    return Facts(id="message", facts=facts)


def _clients(found: Explanation) -> Table:
    columns = [
        Column("client", pgettext("gateway", "Client id")),
        Column("standing", pgettext("gateway", "What became of it")),
        Column("at", pgettext("gateway", "When")),
        Column("asof", pgettext("gateway", "Known up to")),
        Column("state", pgettext("gateway", "State")),
    ]
    return Table(
        id="clients",
        title=pgettext("gateway", "For each client"),
        columns=columns,
        rows=[_client(one, found) for one in found.clients],
        empty=pgettext("gateway", "No client of this user is known."),
        note=silence(found.silent),
    )


def _standing(one: ClientDelivery, fate: Fate) -> words.Word:
    return PASSED if _is_passed(one.standing, fate) else STANDINGS[one.standing]


def _is_passed(what: Standing | StepCode, fate: Fate) -> bool:
    return fate is Fate.TRIMMED and what in (Standing.SENT, StepCode.SENT)


def _client(one: ClientDelivery, found: Explanation) -> Row:
    away = tag(pgettext("gateway", "away"), Tone.QUIET)
    state = tag(pgettext("gateway", "live"), Tone.GOOD) if one.live else away
    cells = [
        Cell(one.client_id, fixed=True, below=visible(one.node)),
        words.in_words(_standing(one, found.message.fate)),
        Cell(words.at(one.at) or "–"),
        Cell(words.at(one.as_of) or "–"),
        state,
    ]
    return Row(f"{one.client_id} {one.session}", cells)


def _story(found: Explanation) -> Story:
    steps = [(Cell(words.at(step.at)), _step(step, found.message.fate)) for step in found.steps]
    return Story(
        id="story", title=pgettext("gateway", "What happened"), steps=steps, note=_as_of(found)
    )


def _as_of(found: Explanation) -> str:
    text = pgettext("gateway", "As known at %(time)s. The ledger is written at each renewal.")
    return text % {"time": words.at(found.at)}


def _step(step: Step, fate: Fate) -> Cell:
    values = {name: _value(name, value) for name, value in step.values.items()}
    text = str(_PASSED if _is_passed(step.code, fate) else STEPS[step.code]) % _Lenient(values)
    who = " · ".join(filter(None, (step.client_id, visible(step.node))))
    tone = "good" if step.code in _GOOD else "bad" if step.code in _BAD else ""
    return Cell(text, below=who, tone=tone)


class _Lenient(dict[str, str]):
    """Has a dash for what a node of another version did not say."""

    def __missing__(self, name: str) -> str:
        return "–"


def _value(name: str, value: Any) -> str:
    if name == "recovered":
        return recovered(None if value is None else bool(value))
    if value is None:
        return "–"
    if name == "why":
        return str(_WHY.get(str(value), visible(str(value))))
    if name == "code" and isinstance(value, int):
        return f"{CODES.get(value, '')} ({value})".strip()
    return visible(str(value))[:128]
