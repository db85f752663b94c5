"""The query of a listing. Pure."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from videofleet.ids import fleet_uid_of
from videofleet_gateway.problems import Fault, Unprocessable

MAX_LIMIT: Final = 100
DEFAULT_LIMIT: Final = 20


@dataclass(frozen=True)
class Page:
    """One page asked for; it begins behind the job `after`."""

    after: str | None
    limit: int
    newest_first: bool


def _is_video(text: str) -> bool:
    return fleet_uid_of(text) is not None


def asked_page(query: Mapping[str, str], *, is_id: Callable[[str], bool] = _is_video, has_order: bool = True) -> Page:
    """`after`, `limit` (1..100, default 20) and `order` (asc or desc). Raises: Unprocessable."""
    known = ("after", "limit", "order") if has_order else ("after", "limit")
    after, limit, order = (
        query.get("after"),
        query.get("limit", str(DEFAULT_LIMIT)),
        query.get("order", "desc"),
    )
    faults = [
        Fault(name[:64], f"unknown parameter; known are {', '.join(known)}") for name in query if name not in known
    ]
    if after is not None and not is_id(after):
        faults.append(Fault("after", "must be an id, as in last_id of the page before"))
    if not re.fullmatch("[0-9]{1,3}", limit) or not 1 <= int(limit) <= MAX_LIMIT:
        faults.append(Fault("limit", f"must be a whole number from 1 to {MAX_LIMIT}"))
    if order not in ("asc", "desc"):
        faults.append(Fault("order", "must be asc or desc"))
    if faults:
        raise Unprocessable.from_faults(faults)
    return Page(after=after, limit=int(limit), newest_first=order == "desc")
