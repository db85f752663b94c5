"""What the API server can answer instead of a result; status codes become these at the client and nowhere else.

KubeError
├── KubeUnavailable  no answer, or 5xx: try again later
├── Throttled        429: try again after `retry_after_s`
├── Conflict         409: the world has changed, plan again
├── Gone             410: the watch is too old, list again
├── NotFound         404
├── NotLeading       another replica may be leading: nothing was sent
└── Refused          any other 4xx: a bug of ours or a missing right; the message is the server's
"""

import json


class KubeError(Exception):
    """A call did not succeed."""


class KubeUnavailable(KubeError):
    """The API server did not answer, or not properly; the call may have been applied."""


class Throttled(KubeError):
    """The API server asks for patience."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message)


class Conflict(KubeError):
    """The object changed under our hands."""


class Gone(KubeError):
    """This resourceVersion is compacted."""


class NotFound(KubeError):
    """No such object, or no such resource: an API server that starts up may not know our CRD yet."""

    def __init__(self, message: str, *, is_object_missing: bool = False) -> None:
        self.is_object_missing = is_object_missing  # the server knows the resource and has no such object
        super().__init__(message)


class NotLeading(KubeError):
    """This process does not lead, or no longer; its own fence refused the write."""


class Refused(KubeError):
    """Invalid or forbidden."""


def _names_an_object(text: str) -> bool:
    """Whether a 404 is a Status that says which object is missing, and not `404 page not found`."""
    try:
        return bool(json.loads(text)["details"]["name"])
    except (ValueError, TypeError, KeyError):
        return False


def error_for(status: int, call: str, text: str, retry_after: str | None = None) -> KubeError:
    """The error of an HTTP status ≥ 400; `text` is the body."""
    message = f"{call} {status}: {text[:500]}"
    if status == 429:
        seconds = float(retry_after) if retry_after and retry_after.isdigit() else 1.0
        return Throttled(message, seconds)
    if status == 404:
        return NotFound(message, is_object_missing=_names_an_object(text))
    kinds: dict[int, type[KubeError]] = {409: Conflict, 410: Gone}
    return kinds.get(status, KubeUnavailable if status >= 500 else Refused)(message)
