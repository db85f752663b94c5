"""Every refusal the gateway can answer with, and the one table that turns an exception into it.

A reply is an RFC 9457 problem document that also carries `error: {message, type, code, param}`, which the OpenAI SDKs
read. Codes are a closed vocabulary that clients may rely on; texts may change.

Problem
├── MalformedBody      400  not JSON, not multipart, a field twice
├── Unauthorized       401  no key, or one we do not know; one that expired
├── Forbidden          403  this key may not do that
├── NotFound           404  also what belongs to somebody else
├── Conflict           409  the job is in another state
├── Gone               410  the fleet was deleted
├── Unprocessable      422  fields that break a rule, each with limit and remedy
├── TooManyRequests    429  the fleet's queue is full, or too many requests
└── Unavailable        503  Redis or the store does not answer
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from videofleet.queue import (
    BatchNotFound,
    FleetClosed,
    FleetUnknown,
    IdempotencyConflict,
    JobNotDead,
    JobNotFinished,
    JobNotFound,
    Limit,
    LimitReached,
    QueueError,
    QueueFull,
    QueueUnavailable,
)
from videofleet.store import ObjectNotFound, StoreError

RETRY_SOON_S: Final = 1  # Redis or the store is away: workers go on, so asking again soon costs nothing
RETRY_PAUSED_S: Final = 60
RETRY_FULL_S: Final = 5  # a full queue moves with the speed of videos


@dataclass(frozen=True)
class Fault:
    """One field that breaks a rule; the message names limit and remedy."""

    field: str
    message: str


class Problem(Exception):
    """A refusal with its HTTP status. `detail` goes to the client: never a secret."""

    status = 500
    kind = "server_error"  # error.type, in OpenAI's words
    default_code = "internal_error"

    def __init__(
        self,
        detail: str,
        *,
        code: str | None = None,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        faults: Sequence[Fault] = (),
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.code = code or self.default_code
        self.param = param
        self.headers = dict(headers or {})
        self.faults = tuple(faults)
        self.members = dict(members or {})  # more of the document, as RFC 9457 allows


class MalformedBody(Problem):
    """The body cannot be read at all."""

    status, kind, default_code = 400, "invalid_request_error", "malformed_body"


class Unauthorized(Problem):
    """No valid key. Says the same whether the key is missing, unknown or wrong."""

    status, kind, default_code = 401, "authentication_error", "invalid_api_key"

    def __init__(self) -> None:
        super().__init__(
            "a valid API key is needed: Authorization: Bearer vf_<id>_<secret>",
            headers={"WWW-Authenticate": 'Bearer realm="videofleet"'},
        )


class Forbidden(Problem):
    """A key that is known and may not do this."""

    status, kind, default_code = 403, "permission_error", "forbidden"


class NotFound(Problem):
    """Nothing there for this tenant."""

    status, kind, default_code = 404, "invalid_request_error", "not_found"


class Conflict(Problem):
    """The job is in a state that does not allow it."""

    status, kind, default_code = 409, "invalid_request_error", "video_not_dead"


class Gone(Problem):
    """It was there and will not come back."""

    status, kind, default_code = 410, "invalid_request_error", "fleet_deleted"


class Unprocessable(Problem):
    """Understood, and refused before anything was queued."""

    status, kind, default_code = 422, "invalid_request_error", "invalid_value"

    @classmethod
    def from_faults(cls, faults: Sequence[Fault]) -> "Unprocessable":
        """All faults in one document; `error.param` is the first field."""
        detail = "; ".join(f"{fault.field}: {fault.message}" for fault in faults)
        return cls(detail, param=faults[0].field, faults=faults)


class TooManyRequests(Problem):
    """Nothing was queued; trying later is fine."""

    status, kind, default_code = 429, "rate_limit_error", "queue_full"


class Unavailable(Problem):
    """Something behind the gateway does not answer."""

    status, kind, default_code = 503, "server_error", "unavailable"


class HttpRefusal(Problem):
    """What aiohttp itself refuses: unknown path, wrong method, body too large."""

    kind = "invalid_request_error"

    def __init__(self, error: web.HTTPException) -> None:
        allow = error.headers.get("Allow")
        phrase = HTTPStatus(error.status).phrase
        super().__init__(
            f"{error.status} {phrase}",
            code=phrase.lower().replace(" ", "_"),
            headers={"Allow": allow} if allow else None,
        )
        self.status = error.status


def no_such_video() -> NotFound:
    """Also for another tenant's video: a stranger learns nothing."""
    return NotFound("no such video; it was deleted, or belongs to another key", code="video_not_found")


def intake_paused(fleet: str) -> Unavailable:
    """A person has paused the fleet; only a person ends that."""
    return Unavailable(
        f"{fleet} takes no new videos for the time being; try again later, or another: GET /v1/models",
        code="intake_paused",
        param="model",
        headers=_retry(RETRY_PAUSED_S),
    )


def problem_of(error: Exception) -> Problem | None:
    """The reply to an exception; None when it is a bug of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, web.HTTPException):
        return HttpRefusal(error)
    if isinstance(error, QueueError):
        return _queue_problem(error)
    if isinstance(error, StoreError):
        return _store_problem(error)
    return None


def _queue_problem(error: QueueError) -> Problem | None:
    match error:
        case QueueUnavailable():
            return Unavailable(
                "the queue does not answer; try again", code="queue_unavailable", headers=_retry(RETRY_SOON_S)
            )
        case QueueFull():
            return TooManyRequests(f"{error}; try again later", headers=_retry(RETRY_FULL_S))
        case LimitReached():
            return _limit_reached(error)
        case FleetClosed():
            return Gone("this fleet was deleted; choose another: GET /v1/models", param="model")
        case FleetUnknown():
            return NotFound("no such fleet; GET /v1/models lists yours", code="model_not_found", param="model")
        case IdempotencyConflict():
            return Unprocessable(
                "this key was used before with another body; use a new key",
                code="idempotency_conflict",
                param="Idempotency-Key",
            )
        case BatchNotFound():
            return NotFound("no such batch; it has expired, or belongs to another key", code="batch_not_found")
        case JobNotDead():
            return Conflict("only videos whose attempts are exhausted are replayed; GET /v1/dead lists them")
        case JobNotFound() | JobNotFinished():  # not finished: it was given back between two of our reads
            return no_such_video()
        case _:
            return None


def _store_problem(error: StoreError) -> Problem:
    if isinstance(error, ObjectNotFound):
        return NotFound("the file is not in the store any more", code="content_missing")
    return Unavailable(
        "the object store does not answer; try again", code="store_unavailable", headers=_retry(RETRY_SOON_S)
    )


def _retry(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


def document(problem: Problem, request_id: str) -> dict[str, Any]:
    """The problem document of RFC 9457 with OpenAI's `error` object inside."""
    body: dict[str, Any] = {
        "type": f"urn:videofleet:problem:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": f"urn:videofleet:request:{request_id}",
        "error": {
            "message": problem.detail,
            "type": problem.kind,
            "code": problem.code,
            "param": problem.param,
        },
    }
    if problem.faults:
        body["errors"] = [{"field": fault.field, "detail": fault.message} for fault in problem.faults]
    return body | problem.members


def _limit_reached(error: LimitReached) -> TooManyRequests:
    code, detail, retry_s = {
        Limit.QUEUED: ("too_many_queued", "jobs waiting; try again when one has begun", RETRY_FULL_S),
        Limit.UNFINISHED: ("too_many_unfinished", "unfinished jobs; try again when one is done", RETRY_FULL_S),
        Limit.SECONDS: (
            "worker_seconds_spent",
            "worker seconds a day, and this job would exceed them; try again after midnight UTC, or a smaller tier",
            error.day_left_s,
        ),
    }[error.limit]
    return TooManyRequests(f"you may have {error.most} {detail}", code=code, headers=_retry(retry_s))
