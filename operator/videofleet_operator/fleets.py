"""Which fleets there are, as last heard: key → UID. UIDs are never used twice, so one that is gone is gone for good."""

from videofleet_operator.workqueue import Key


class KnownFleets:
    """Kept by watch events and by each resync."""

    def __init__(self) -> None:
        self._uids: dict[Key, str] = {}

    def learn(self, key: Key, uid: str) -> None:
        """A VideoGenerator was seen."""
        self._uids[key] = uid

    def forget(self, key: Key, uid: str) -> None:
        """It is gone; one of the same name that came after it stays."""
        if self._uids.get(key) == uid:
            del self._uids[key]

    def replace(self, fleets: dict[Key, str]) -> None:
        """A complete list was read."""
        self._uids = dict(fleets)

    def uid(self, key: Key) -> str | None:
        """The UID last heard of."""
        return self._uids.get(key)

    def items(self) -> list[tuple[Key, str]]:
        """All of them now."""
        return list(self._uids.items())
