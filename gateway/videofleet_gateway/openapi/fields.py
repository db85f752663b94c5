"""What `POST /v1/videos` takes, as JSON Schema: one entry a field, beside its parser in `validation`. Pure data."""

from typing import Any, Final

from videofleet_gateway.validation import GUIDANCE_RANGE, MAX_PROMPT_CHARACTERS, MAX_SEED, NAME
from videofleet_gateway.webhooks.targets import MAX_CHARACTERS

_LOW, _HIGH = GUIDANCE_RANGE
_DECIMAL: Final = r"^[0-9]{1,20}(\.[0-9]{1,20})?$"
_GUIDANCE: Final = {"type": ["number", "string", "null"], "pattern": _DECIMAL, "minimum": _LOW, "maximum": _HIGH}

_URL: Final = {"type": "string", "pattern": "^https?://[!-~]+$", "maxLength": MAX_CHARACTERS}

FIELDS: Final[dict[str, dict[str, Any]]] = {
    "prompt": {
        "type": "string",
        "minLength": 1,
        "maxLength": MAX_PROMPT_CHARACTERS,
        "pattern": r"\S",
        "description": "What to show.",
    },
    "model": {
        "type": ["string", "null"],
        "pattern": rf"^{NAME}(/{NAME})?$",
        "description": "namespace/name of a fleet, or its name alone where that is unique.",
    },
    "tier": {"type": ["string", "null"], "pattern": rf"^{NAME}$", "description": "One of the fleet's tiers."},
    "size": {
        "type": ["string", "null"],
        "pattern": "^[0-9]{1,5}x[0-9]{1,5}$",
        "description": "WIDTHxHEIGHT of one of the fleet's tiers.",
    },
    "seconds": {
        "type": ["string", "number", "null"],
        "pattern": _DECIMAL,
        "exclusiveMinimum": 0,
        "description": "Length of one of the tiers: exact, to a tenth, to the nearest second or up to the next.",
    },
    "seed": {
        "type": ["integer", "string", "null"],
        "pattern": "^[0-9]{1,20}$",
        "minimum": 0,
        "maximum": MAX_SEED,
        "description": "The same seed gives the same video; random when left out.",
    },
    "negative_prompt": {
        "type": ["string", "null"],
        "maxLength": MAX_PROMPT_CHARACTERS,
        "description": "What not to show.",
    },
    "guidance_scale": _GUIDANCE | {"description": "How closely to follow the prompt; the model's own when left out."},
    "guidance_scale_2": _GUIDANCE | {"description": "The same for the low-noise expert, of models that have one."},
    "priority": {"enum": ["interactive", "standard", "batch", None], "description": "Who goes first; standard."},
    "cache": {
        "enum": [True, False, "true", "false", None],
        "description": "false: make it anew though an equal video is there; true when left out.",
    },
    "deadline": {
        "type": ["string", "integer", "null"],
        "description": "Begin no later: a moment with its time zone, or whole seconds from now.",
    },
    "webhook": {
        "anyOf": [
            {"type": "null"},
            _URL,
            {"type": "object", "properties": {"url": _URL}, "required": ["url"], "additionalProperties": False},
        ],
        "description": "Who is told when the video ends: a public https URL.",
    },
    "allow_fallback": {
        "enum": [True, False, "true", "false", None],
        "description": "Whether a lower tier will do while the fleet is under load; true.",
    },
}
