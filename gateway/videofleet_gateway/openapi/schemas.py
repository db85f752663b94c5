"""What the gateway answers, as JSON Schema. Closed: a field that is not here may not be sent. Pure data."""

from typing import Any, Final

from videofleet.feedback import RATINGS, Label
from videofleet.jobs import Priority


def _closed(properties: dict[str, Any], optional: tuple[str, ...] = ()) -> dict[str, Any]:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _list_of(schema: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{schema}"}}


_TEXT: Final = {"type": "string"}
_TIME: Final = {"type": ["integer", "null"], "description": "Unix seconds."}
_LIMIT: Final = {"type": ["integer", "null"], "description": "null: none."}
_COUNT: Final = {"type": "integer", "minimum": 0}
_STATUS: Final = {"enum": ["queued", "in_progress", "completed", "failed"]}
_ETA: Final = {"type": ["number", "null"], "description": "Seconds until the video is there; null when not known."}
_ID_OR_NULL: Final = {"type": ["string", "null"]}

_VIDEO: Final[dict[str, Any]] = {
    "id": {"type": "string", "pattern": "^video_[0-9a-z]{52}$"},
    "object": {"const": "video"},
    "model": _TEXT | {"description": "namespace/name of the fleet."},
    "status": _STATUS,
    "progress": {"type": "integer", "minimum": 0, "maximum": 100},
    "created_at": {"type": "integer", "description": "Unix seconds."},
    "completed_at": _TIME,
    "expires_at": _TIME,
    "size": _TEXT | {"pattern": "^[0-9]+x[0-9]+$"},
    "seconds": _TEXT | {"pattern": r"^[0-9]+(\.[0-9])?$"},
    "error": {"anyOf": [{"type": "null"}, _closed({"code": _TEXT, "message": _TEXT})]},
    "tier": _TEXT | {"description": "What it is made in."},
    "requested_tier": _TEXT,
    "fallback": {"type": ["string", "null"], "description": "Why `tier` is lower than `requested_tier`."},
    "priority": {"enum": ["interactive", "standard", "batch"]},
    "deadline": _TIME,
    "seed": _COUNT,
    "attempt": _COUNT | {"description": "How many workers began it."},
    "cancel_requested": {"type": "boolean"},
    "webhook": {
        "anyOf": [
            {"type": "null"},
            _closed(
                {
                    "url": _TEXT,
                    "status": {"enum": ["pending", "delivered", "failed", "disabled", None]},
                    "attempts": _COUNT,
                }
            ),
        ]
    },
    "cached": {"type": "boolean", "description": "An earlier video of the same request was copied."},
}
_LABEL: Final = {"enum": [*map(str, Label), None]}
_PERCENT: Final = {"type": "number", "minimum": 0, "maximum": 100}
_PROMPT: Final = {"prompt": _TEXT}

SCHEMAS: Final[dict[str, dict[str, Any]]] = {
    "VideoSummary": _closed(_VIDEO),
    "Video": _closed(_VIDEO | _PROMPT),
    "CreatedVideo": _closed(_VIDEO | _PROMPT | {"advice": _list_of("Advice")}),
    "Advice": _closed({"code": _TEXT, "message": _TEXT}),
    "VideoList": _closed(
        {
            "object": {"const": "list"},
            "data": _list_of("VideoSummary"),
            "first_id": _ID_OR_NULL,
            "last_id": _ID_OR_NULL,
            "has_more": {"type": "boolean"},
        }
    ),
    "Deletion": _closed(
        {"id": _TEXT, "object": {"const": "video.deleted"}, "deleted": {"type": "boolean"}, "status": _STATUS}
    ),
    "ErasureRequest": _closed(
        {"tenant": _TEXT | {"description": "The tenant's own name, so that none is erased by mistake."}}
    ),
    "Erasure": _closed(
        {
            "object": {"const": "erasure"},
            "tenant": _TEXT,
            "videos": _COUNT | {"description": "Records removed, prompts and all."},
            "files": {
                "enum": ["deleted", "pending"],
                "description": "pending: a store is away, they go when it is back.",
            },
        }
    ),
    "FeedbackRequest": _closed(
        {"rating": {"enum": [*RATINGS, *map(str, RATINGS)]}, "label": _LABEL}, optional=("label",)
    ),
    "Feedback": _closed(
        {"id": _TEXT, "object": {"const": "video.feedback"}, "rating": {"enum": [*RATINGS]}, "label": _LABEL}
    ),
    "IntakeRequest": _closed({"model": _TEXT | {"description": "namespace/name of a fleet."}}),
    "Intake": _closed({"object": {"const": "intake"}, "model": _TEXT, "paused": {"type": "boolean"}}),
    "LinksRequest": _closed(
        {"expires_in": {"type": ["integer", "string"], "minimum": 60, "maximum": 86400, "default": 900}},
        optional=("expires_in",),
    ),
    "Links": _closed(
        {
            "id": _TEXT,
            "object": {"const": "video.links"},
            "expires_at": {"type": "integer", "description": "Unix seconds."},
            "links": _closed(
                dict.fromkeys(
                    ("video", "thumbnail", "spritesheet", "provenance", "events"),
                    _TEXT | {"description": "Path and query."},
                )
            ),
        }
    ),
    "QueuedEvent": _closed(_VIDEO | {"eta_s": _ETA, "position": {"type": ["integer", "null"], "minimum": 1}}),
    "ProgressEvent": _closed(_VIDEO | {"eta_s": _ETA, "stage": _TEXT, "step": _COUNT, "steps": _COUNT}),
    "Tier": _closed({"name": _TEXT, "size": _TEXT, "seconds": _TEXT, "fps": {"type": "integer"}}),
    "Worker": _closed(
        {
            "name": _TEXT,
            "state": {"enum": ["loading", "warming", "ready", "draining", "failed"]},
            "revision": _TEXT,
            "detail": _TEXT,
            "busy": {"type": "boolean"},
            "leaving": {"type": "boolean", "description": "It finishes what it has and gets nothing new."},
        }
    ),
    "Model": _closed(
        {
            "id": _TEXT,
            "object": {"const": "model"},
            "created": {"const": 0},
            "owned_by": _TEXT,
            "architecture": _TEXT,
            "tiers": _list_of("Tier"),
            "intake": {"enum": ["open", "paused"]},
            "waiting": _COUNT,
            "waiting_by_priority": _closed({str(each): _COUNT for each in Priority}),
            "running": _COUNT,
            "rollout": _closed(
                {
                    "stable": _ID_OR_NULL,
                    "canary": {
                        "anyOf": [{"type": "null"}, _closed({"revision": _TEXT, "weight_percent": _PERCENT})],
                        "description": "The share of new jobs that it gets.",
                    },
                }
            ),
            "fallback": {
                "anyOf": [
                    {"type": "null"},
                    _closed({"tier": _TEXT, "share_percent": _PERCENT, "cause": _TEXT}),
                ]
            },
            "decisions": {
                "type": "array",
                "items": _closed({"at": {"type": "integer"}, "text": _TEXT}),
                "maxItems": 10,
            },
            "workers": _list_of("Worker"),
        }
    ),
    "ModelList": _closed({"object": {"const": "list"}, "data": _list_of("Model")}),
    "Usage": _closed(
        {
            "object": {"const": "usage"},
            "tenant": _TEXT,
            "role": {"enum": ["user", "admin"]},
            "key_expires_at": _TIME,
            "jobs": _closed(
                dict.fromkeys(("queued", "in_progress", "completed", "failed", "cancelled", "dead"), _COUNT)
            ),
            "worker_seconds": {"type": "number", "description": "Of all attempts ever, claim to end."},
            "limits": _closed(
                dict.fromkeys(
                    ("requests_per_minute", "queued_jobs", "unfinished_jobs", "running_jobs", "worker_seconds_per_day"),
                    _LIMIT,
                )
            ),
        }
    ),
    "Login": _closed(
        {
            "object": {"const": "login"},
            "name": _ID_OR_NULL | {"description": "What the page's button names; null: API keys only."},
            "tenant": _ID_OR_NULL | {"description": "Whose session this is; null: nobody's."},
        }
    ),
    "Batch": _closed(
        {
            "id": {"type": "string", "pattern": "^batch_[0-9a-f]{32}$"},
            "object": {"const": "batch"},
            "endpoint": {"const": "/v1/videos"},
            "status": {"enum": ["in_progress", "completed", "cancelling", "cancelled"]},
            "created_at": {"type": "integer", "description": "Unix seconds."},
            "expires_at": {"type": "integer", "description": "Unix seconds."},
            "completed_at": _TIME,
            "cancelling_at": _TIME,
            "cancelled_at": _TIME,
            "request_counts": _closed({"total": _COUNT, "completed": _COUNT, "failed": _COUNT, "deleted": _COUNT}),
            "errors": {
                "anyOf": [{"type": "null"}, _closed({"object": {"const": "list"}, "data": _list_of("BatchError")})]
            },
            "results": _TEXT | {"description": "Path of the results."},
        }
    ),
    "BatchError": _closed({"line": _COUNT, "code": _TEXT, "message": _TEXT, "param": _ID_OR_NULL}),
    "BatchList": _closed(
        {
            "object": {"const": "list"},
            "data": _list_of("Batch"),
            "first_id": _ID_OR_NULL,
            "last_id": _ID_OR_NULL,
            "has_more": {"type": "boolean"},
        }
    ),
    "Problem": _closed(
        {
            "type": _TEXT,
            "title": _TEXT,
            "status": {"type": "integer"},
            "detail": _TEXT,
            "instance": _TEXT,
            "error": _closed({"message": _TEXT, "type": _TEXT, "code": _TEXT, "param": {"type": ["string", "null"]}}),
            "errors": {"type": "array", "items": _closed({"field": _TEXT, "detail": _TEXT})},
            "advice": _list_of("Advice"),
        },
        optional=("errors", "advice"),
    ),
}
