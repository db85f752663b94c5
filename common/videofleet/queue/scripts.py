"""The Lua scripts: one a transition, each behind the functions that it shares with others."""

import re
from functools import cache
from importlib.resources import files
from typing import Final

_COMMENT: Final = re.compile(r"^ *--.*\n| +--.*", re.MULTILINE)
_DECLARED: Final = re.compile(r"^local (?:function )?([\w, ]+)", re.MULTILINE)  # by a block, at its own level
_WORD: Final = re.compile(r"\w+")
_SHARED: Final = (
    "prelude",
    "record",
    "work",
    "fairness",
    "waiting",
    "outbox",
    "leaving",
    "canary",
    "claiming",
    "yielding",
    "endings",
    "decoding",
)  # each builds on those before it
_OF_TENANTS: Final = ("tenant", "reserve", "settle")  # over a tenant's prefix, and not a fleet's
NAMES: Final = (
    *_OF_TENANTS,
    "publish",
    "submit",
    "get",
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
    "begin_erasure",
    "forget_tenant",
    "sweep_fleet",
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
    "decode_ask",
    "decode_withdraw",
    "decode_take",
    "decode_beat",
    "decode_answer",
)


@cache
def source(name: str) -> str:
    """One script behind the shared blocks that it needs. Others would cost: Lua builds every function at every call."""
    shared = ("prelude", "reservations") if name in _OF_TENANTS else _SHARED
    needed = _blocks(name)
    words = set[str]().union(*(_WORD.findall(block) for block in needed))
    for block in reversed([block for each in shared for block in _blocks(each)]):
        declared = {word for names in _DECLARED.findall(block) for word in _WORD.findall(names)}
        if declared & words:  # a block uses only those before it
            needed = [block, *needed]
            words.update(_WORD.findall(block))
    return "\n".join(needed)


@cache
def _blocks(name: str) -> list[str]:
    """A file without its comments, parted at blank lines."""
    text = (files("videofleet.queue") / "lua" / f"{name}.lua").read_text()
    return _COMMENT.sub("", text).strip().split("\n\n")
