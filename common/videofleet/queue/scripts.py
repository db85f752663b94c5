"""The Lua scripts: one a transition, each behind the functions that it shares with others."""

from functools import cache
from importlib.resources import files
from typing import Final

_SHARED: Final = (
    "prelude",
    "work",
    "fairness",
    "waiting",
    "canary",
    "claiming",
    "outbox",
    "leaving",
    "endings",
)  # each builds on those before it
_OF_TENANTS: Final = ("tenant", "reserve", "settle")  # over a tenant's prefix, and not a fleet's
NAMES: Final = (
    *_OF_TENANTS,
    "publish",
    "submit",
    "claim",
    "beat",
    "succeed",
    "fail",
    "give_back",
    "cancelled",
    "park",
    "cancel",
    "replay",
    "reap",
    "remove",
    "purge",
    "expire",
    "owed",
    "paid",
    "forget_tenant",
    "answer",
    "owe",
    "remember",
    "rate",
    "judge",
    "close",
    "stats",
    "ahead",
    "standing",
    "take_notices",
    "settle_notice",
    "outbox_depth",
    "idem_use",
    "idem_move",
    "batch_create",
    "batch_commit",
    "batch_take",
    "golden",
    "put_beacon",
    "beacons",
)


@cache
def source(name: str) -> str:
    """The complete text of one script."""
    lua = files("videofleet.queue") / "lua"
    shared = ("prelude", "reservations") if name in _OF_TENANTS else _SHARED
    return "".join((lua / f"{part}.lua").read_text() for part in (*shared, name))
