"""Every endpoint: what it takes and answers. Errors are one document everywhere, so each says only its statuses."""

from dataclasses import dataclass
from typing import Any, Final

_VIDEO_ID: Final = "^video_[0-7][0-9a-hjkmnp-tv-z]{51}$"
_ID: Final = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
_VARIANT: Final = {
    "name": "variant",
    "in": "query",
    "schema": {"enum": ["video", "thumbnail", "spritesheet", "provenance"], "default": "video"},
}
_PURGE: Final = {
    "name": "purge",
    "in": "query",
    "schema": {"enum": ["true", "false"], "default": "false"},
    "description": "Remove it in whatever state it is.",
}
_PAGE: Final = (
    {
        "name": "after",
        "in": "query",
        "schema": {"type": "string", "pattern": _VIDEO_ID},
        "description": "The id that the page begins behind.",
    },
    {"name": "limit", "in": "query", "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 20}},
    {"name": "order", "in": "query", "schema": {"enum": ["asc", "desc"], "default": "desc"}},
)
_BATCH_PAGE: Final = (
    _PAGE[0] | {"schema": {"type": "string", "pattern": "^batch_[0-9a-f]{32}$"}},
    _PAGE[1],
)
_IDEMPOTENCY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "description": "The same key and the same request give the same video for 24 hours.",
}
_RANGE: Final = {"name": "Range", "in": "header", "schema": {"type": "string"}}
_LAST_EVENT: Final = {"name": "Last-Event-ID", "in": "header", "schema": {"type": "string"}}


@dataclass(frozen=True)
class Operation:
    """One method of one path. `replies` maps a status to a schema's name, a content type, or "" for no body."""

    summary: str
    replies: dict[int, str]
    parameters: tuple[dict[str, Any], ...] = ()
    body: str = ""  # a schema's name
    needs_body: bool = True
    takes_file: bool = False  # of JSON Lines
    errors: tuple[int, ...] = ()
    needs_key: bool = True
    opens_by_link: bool = False
    answers_browsers: bool = False  # who ask for HTML get refusals as a page


OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("post", "/v1/videos"): Operation(
        "Queue a video",
        {202: "CreatedVideo", 200: "CreatedVideo"},
        (_IDEMPOTENCY,),
        body="VideoRequest",
        errors=(400, 404, 408, 410, 413, 415, 422),
    ),
    ("get", "/v1/videos"): Operation("One's own videos", {200: "VideoList"}, _PAGE, errors=(422,)),
    ("get", "/v1/videos/{id}"): Operation("One video", {200: "Video"}, (_ID,), errors=(404,)),
    ("delete", "/v1/videos/{id}"): Operation(
        "Cancel what is unfinished, remove what is finished", {200: "Deletion"}, (_ID, _PURGE), errors=(404, 422)
    ),
    ("post", "/v1/erase"): Operation(
        "Erase everything of the tenant",
        {200: "Erasure"},
        body="ErasureRequest",
        errors=(400, 403, 408, 413, 415, 422),
    ),
    ("get", "/v1/videos/{id}/content"): Operation(
        "The file",
        {200: "video/mp4", 206: "video/mp4", 302: "", 304: ""},
        (_ID, _VARIANT, _RANGE),
        errors=(404, 416, 422),
        opens_by_link=True,
    ),
    ("get", "/v1/videos/{id}/events"): Operation(
        "Its life as server-sent events: queued, progress, done, deleted",
        {200: "text/event-stream", 204: ""},
        (_ID, _LAST_EVENT),
        errors=(404,),
        opens_by_link=True,
    ),
    ("post", "/v1/videos/{id}/links"): Operation(
        "Addresses that open one video without a key, for some minutes",
        {201: "Links"},
        (_ID,),
        body="LinksRequest",
        needs_body=False,
        errors=(400, 404, 408, 413, 415, 422),
    ),
    ("post", "/v1/videos/{id}/feedback"): Operation(
        "Say what you think of a video",
        {200: "Feedback"},
        (_ID,),
        body="FeedbackRequest",
        errors=(400, 404, 408, 409, 413, 415, 422),
    ),
    ("post", "/v1/videos/{id}/replay"): Operation(
        "Queue a dead video again", {202: "Video"}, (_ID,), errors=(404, 409, 410)
    ),
    ("post", "/v1/intake/pause"): Operation(
        "Take no new videos in a fleet (admin)",
        {200: "Intake"},
        body="IntakeRequest",
        errors=(400, 403, 404, 408, 410, 413, 415, 422),
    ),
    ("post", "/v1/intake/resume"): Operation(
        "Take new videos again (admin)",
        {200: "Intake"},
        body="IntakeRequest",
        errors=(400, 403, 404, 408, 410, 413, 415, 422),
    ),
    ("get", "/v1/dead"): Operation("One's own dead videos", {200: "VideoList"}),
    ("post", "/v1/batches"): Operation(
        "Hand in many videos at once",
        {202: "Batch", 200: "Batch"},
        (_IDEMPOTENCY,),
        takes_file=True,
        errors=(400, 408, 413, 415, 422),
    ),
    ("get", "/v1/batches"): Operation("One's own batches", {200: "BatchList"}, _BATCH_PAGE, errors=(422,)),
    ("get", "/v1/batches/{id}"): Operation("One batch", {200: "Batch"}, (_ID,), errors=(404,)),
    ("post", "/v1/batches/{id}/cancel"): Operation("Stop a batch", {202: "Batch"}, (_ID,), errors=(404,)),
    ("get", "/v1/batches/{id}/results"): Operation(
        "A line of JSON for each line of the file", {200: "application/jsonl"}, (_ID,), errors=(404,)
    ),
    ("get", "/v1/models"): Operation("The fleets that this key may use", {200: "ModelList"}),
    ("get", "/v1/usage"): Operation("What this tenant has, and what it may", {200: "Usage"}),
    ("get", "/openapi.json"): Operation("This document", {200: "application/json"}, needs_key=False),
    ("get", "/"): Operation("The page", {200: "text/html", 304: ""}, needs_key=False),
    ("get", "/page/{name}"): Operation(
        "A part of the page",
        {200: "*/*", 304: ""},
        ({"name": "name", "in": "path", "required": True, "schema": {"type": "string"}},),
        errors=(404,),
        needs_key=False,
    ),
    ("get", "/login"): Operation(
        "To the identity provider", {302: ""}, errors=(404, 503), needs_key=False, answers_browsers=True
    ),
    ("get", "/login/callback"): Operation(
        "Back from it, with a session", {303: ""}, errors=(400, 403, 404, 503), needs_key=False, answers_browsers=True
    ),
    ("get", "/login/session"): Operation(
        "Whether one can sign in here, and has", {200: "Login"}, errors=(503,), needs_key=False
    ),
    ("post", "/login/end"): Operation("Sign out", {204: ""}, errors=(403, 404), needs_key=False),
}
