"""Who is connected, by HTTP, and closing, revoking and blocking."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Router
from ninja.params.functions import Query

from sockets.api import (
    ablock_user,
    adisconnect_user,
    aforget_user,
    apresence_of,
    apresence_of_users,
    astream_position,
    aunblock_user,
)
from sockets.api.control import arevoke_till_now
from sockets.auth.scopes import ADMIN, PRESENCE
from sockets.codes import CloseCode
from sockets.http.schemas import (
    BlockIn,
    DisconnectedOut,
    ForgottenOut,
    Id,
    PositionOut,
    PresenceIn,
    PresenceOut,
    PresencesOut,
    RevocationIn,
    UnblockedOut,
    UserOut,
)
from sockets.http.security import ApiKey

router = Router(tags=["Presence"])

CODE = Query(
    int(CloseCode.DISCONNECTED),
    ge=4000,
    le=4999,
    description="4000 to 4499: the client reconnects; 4500 to 4999: it does not.",
)
CLIENT = Query(None, description="Only sessions of this client id.")
SESSION = Query(None, description="Only this session.")
KEEP = Query([], max_length=300, description="Ids of clients or sessions that stay connected.")


@router.get(
    "/users/{gateway_segment:user}",
    response=UserOut,
    auth=ApiKey(PRESENCE),
    summary="Presence of a user",
    operation_id="presence_of_user",
)
async def user(request: HttpRequest, user: str) -> UserOut:
    """The user's state, live sessions, when they were last seen, and their stream's position."""
    presence = await apresence_of(user)
    position = await astream_position(user)
    at = PositionOut(epoch=position.epoch, offset=position.offset)
    made: UserOut = UserOut.of(presence, user=user, position=at)
    return made


@router.delete(
    "/users/{gateway_segment:user}",
    response=ForgottenOut,
    auth=ApiKey(ADMIN),
    summary="Remove all that is kept of a user",
    operation_id="forget_user",
    tags=["Access"],
)
async def forget(request: HttpRequest, user: str) -> ForgottenOut:
    """Closes the user's sessions, and removes messages, positions, the ledger, presence and rows.
    May be repeated. Blocks and revocations stay."""
    return ForgottenOut.of(await aforget_user(user))


@router.post(
    "/presence",
    response=PresencesOut,
    auth=ApiKey(PRESENCE),
    summary="Presence of many users",
    operation_id="presence_of_users",
)
async def presence(request: HttpRequest, asked: PresenceIn) -> PresencesOut:
    """At most 10,000 users in one call."""
    answer = await apresence_of_users(asked.users)
    return PresencesOut(
        partial=answer.partial,
        users={user: PresenceOut.of(one) for user, one in answer.users.items()},
    )


@router.delete(
    "/users/{gateway_segment:user}/sessions",
    response=DisconnectedOut,
    auth=ApiKey(ADMIN),
    summary="Close a user's sessions",
    operation_id="disconnect_user",
    tags=["Sessions"],
)
async def disconnect(
    request: HttpRequest,
    user: str,
    client: Id | None = CLIENT,
    session: Id | None = SESSION,
    keep: list[Id] = KEEP,
    code: int = CODE,
    reason: str = Query("disconnected by the application", max_length=123),
) -> DisconnectedOut:
    """Returns when the sessions are closed."""
    done = await adisconnect_user(
        user, client=client, session=session, keep=keep, code=code, reason=reason
    )
    return DisconnectedOut.of(done)


@router.post(
    "/users/{gateway_segment:user}/revocations",
    response=DisconnectedOut,
    auth=ApiKey(ADMIN),
    summary="Revoke a user's logins and tokens",
    operation_id="revoke",
    tags=["Access"],
)
async def revoke(request: HttpRequest, user: str, what: RevocationIn) -> DisconnectedOut:
    """What was issued before `before` is refused from now on: all of the user's, one login or one
    token. Returns when the sockets are closed (4508)."""
    done = await arevoke_till_now(user, sid=what.sid, jti=what.jti, before=what.before)
    return DisconnectedOut.of(done)


@router.put(
    "/users/{gateway_segment:user}/block",
    response=DisconnectedOut,
    auth=ApiKey(ADMIN),
    summary="Block a user",
    operation_id="block_user",
    tags=["Access"],
)
async def block(request: HttpRequest, user: str, wanted: BlockIn) -> DisconnectedOut:
    """Close all sessions (4507), and refuse new ones until then."""
    done = await ablock_user(user, wanted.until, seconds=wanted.seconds, reason=wanted.reason)
    return DisconnectedOut.of(done)


@router.delete(
    "/users/{gateway_segment:user}/block",
    response=UnblockedOut,
    auth=ApiKey(ADMIN),
    summary="Unblock a user",
    operation_id="unblock_user",
    tags=["Access"],
)
async def unblock(request: HttpRequest, user: str) -> UnblockedOut:
    """Unblock a user. Returns whether they were blocked."""
    return UnblockedOut(unblocked=await aunblock_user(user))
