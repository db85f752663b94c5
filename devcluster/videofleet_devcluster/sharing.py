"""Equal parts of many objects, held once: the specs of a ReplicaSet's pods, the fields that their writer manages.

It relies on what the API server and the informers keep to: an object that is stored is never changed in place.
"""

import marshal
from collections import OrderedDict
from typing import Any, Final

_CAPACITY: Final = 4096  # values remembered; the least recently seen is forgotten first


class Shared:
    """Remembers values, and gives back the remembered one for an equal one."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Any] = OrderedDict()

    def of(self, value: Any) -> Any:
        """The value, or one that is equal to it and already held."""
        text = marshal.dumps(value, 0)  # version 0 writes the value alone, not how its parts are shared
        found = self._known.pop(text, value)
        self._known[text] = found
        if len(self._known) > _CAPACITY:
            self._known.popitem(last=False)
        return found
