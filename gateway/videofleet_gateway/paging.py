"""The query of a listing. Pure."""

import re
from collections.abc import Mapping
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


def asked_page(query: Mapping[str, str]) -> Page:
    """`after`, `limit` (1..100, default 20) and `order` (asc or desc). Raises: Unprocessable."""
    after, limit, order = (
        query.get("after"),
        query.get("limit", str(DEFAULT_LIMIT)),
        query.get("order", "desc"),
    )
    faults = [
        Fault(name[:64], "unknown parameter; known are after, limit, order") for name in query if name not in _KNOWN
    ]
    if after is not None and fleet_uid_of(after) is None:
        faults.append(Fault("after", "must be the id of a video, as in last_id of the page before"))
    if not re.fullmatch("[0-9]{1,3}", limit) or not 1 <= int(limit) <= MAX_LIMIT:
        faults.append(Fault("limit", f"must be a whole number from 1 to {MAX_LIMIT}"))
    if order not in ("asc", "desc"):
        faults.append(Fault("order", "must be asc or desc"))
    if faults:
        raise Unprocessable.from_faults(faults)
    return Page(after=after, limit=int(limit), newest_first=order == "desc")


_KNOWN: Final = frozenset({"after", "limit", "order"})
