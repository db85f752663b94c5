"""The Lua scripts: one a transition, each behind the prelude that they share."""

from functools import cache
from importlib.resources import files
from typing import Final

NAMES: Final = (
    "submit",
    "claim",
    "beat",
    "succeed",
    "fail",
    "give_back",
    "cancelled",
    "cancel",
    "reap",
    "remove",
    "close",
    "stats",
    "ahead",
    "put_beacon",
    "beacons",
)


@cache
def source(name: str) -> str:
    """The complete text of one script."""
    lua = files("videofleet.queue") / "lua"
    return (lua / "prelude.lua").read_text() + (lua / f"{name}.lua").read_text()
