"""Lists in pieces: `limit` cuts one, `continue` asks for the rest of the same consistent list.

Every piece is of the version of the first one. Invariant: a token that is too old, because its version was compacted
or too many lists began since, is refused with 410 and never answered from another version.
"""

import secrets
from dataclasses import dataclass
from typing import Final

from videofleet_devcluster.apiserver.errors import ApiError
from videofleet_devcluster.apiserver.objects import Object
from videofleet_devcluster.apiserver.store import ResourceId, Store

_KEPT_LISTS: Final = 256


@dataclass(frozen=True)
class Page:
    """One piece of a list; `token` is empty on the last."""

    objects: list[Object]
    version: int
    token: str = ""
    remaining: int = 0

    def metadata(self, *, counted: bool) -> Object:
        """ListMeta; how many remain is told only when no selector was given, as Kubernetes has it."""
        more: Object = {"continue": self.token} if self.token else {}
        return (
            {"resourceVersion": str(self.version)}
            | more
            | ({"remainingItemCount": self.remaining} if more and counted else {})
        )


class Pages:
    """The rests of the lists that clients are reading."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._rests: dict[str, tuple[ResourceId, int, list[Object]]] = {}

    def first(self, resource: ResourceId, found: list[Object], limit: int) -> Page:
        """The first `limit` of the objects; all of them when it is 0."""
        return self._cut(resource, self._store.version, found, limit)

    def following(self, token: str, limit: int) -> Page:
        """The piece that a token stands for. Raises: ApiError 410."""
        resource, version, rest = self._rests.get(token, (("", ""), -1, []))
        if version < self._store.log(resource).oldest:
            message = "The provided continue parameter is too old to display a consistent list result. "
            raise ApiError(410, "Expired", message + "You can start a new list without the continue parameter.")
        return self._cut(resource, version, rest, limit)

    def _cut(self, resource: ResourceId, version: int, found: list[Object], limit: int) -> Page:
        if not limit or len(found) <= limit:
            return Page(found, version)
        token = secrets.token_urlsafe(24)
        self._rests[token] = resource, version, found[limit:]
        if len(self._rests) > _KEPT_LISTS:
            del self._rests[next(iter(self._rests))]
        return Page(found[:limit], version, token, len(found) - limit)
