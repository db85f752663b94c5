"""What the API server can answer instead of a result; status codes become these at the client and nowhere else.

KubeError
├── KubeUnavailable  no answer, or 5xx: try again later
├── Throttled        429: try again after `retry_after_s`
├── Conflict         409: the world has changed, plan again
├── Gone             410: the watch is too old, list again
├── NotFound         404
└── Refused          any other 4xx: a bug of ours or a missing right; the message is the server's
"""


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
    """No such object."""


class Refused(KubeError):
    """Invalid or forbidden."""


def error_for(status: int, text: str, retry_after: str | None) -> KubeError:
    """The error of an HTTP status ≥ 400."""
    message = f"{status}: {text[:500]}"
    if status == 429:
        seconds = float(retry_after) if retry_after and retry_after.isdigit() else 1.0
        return Throttled(message, seconds)
    kinds: dict[int, type[KubeError]] = {404: NotFound, 409: Conflict, 410: Gone}
    return kinds.get(status, KubeUnavailable if status >= 500 else Refused)(message)
