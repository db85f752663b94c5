"""What a client may ask for, checked before anything is queued. Pure: fields in, a request for workers out.

Every field that is accepted has its behaviour; any other is refused by name. Numbers may come as text, because forms
have nothing else. Faults are collected, so that one reply names them all.
"""

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final

from videofleet.architectures import CONSTANTS
from videofleet.jobs import Priority, VideoRequest
from videofleet.policy import FleetPolicy
from videofleet_gateway.deadlines import Deadline, deadline
from videofleet_gateway.problems import Fault, Unprocessable
from videofleet_gateway.tier_choice import chosen_tier

MAX_PROMPT_CHARACTERS: Final = 4000
MAX_SEED: Final = 2**63 - 1
GUIDANCE_RANGE: Final = (1.0, 20.0)
NAME: Final = r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?"  # of a fleet, namespace or tier
MAX_FAULTS: Final = 20  # a body can hold thousands of unknown fields

_INTEGER: Final = re.compile(r"-?[0-9]{1,20}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,20}(\.[0-9]{1,20})?")


@dataclass(frozen=True)
class Asked:
    """A request whose every field is well-formed; whether a fleet offers it is the next question."""

    prompt: str
    model: str | None = None
    tier: str | None = None
    size: str | None = None
    seconds: Decimal | None = None
    seed: int | None = None
    negative_prompt: str = ""
    guidance_scale: float | None = None
    guidance_scale_2: float | None = None
    priority: Priority = Priority.STANDARD
    deadline: Deadline | None = None
    webhook: str | None = None  # URL; where it may lead is the next question
    cache: bool = True
    allow_fallback: bool = True

    @property
    def digest(self) -> str:
        """SHA-256 of what was asked, the same for JSON and form: what an Idempotency-Key stands for."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True, default=str).encode()).hexdigest()


def asked_for(fields: Mapping[str, object]) -> Asked:
    """The fields, typed. Null counts as left out. Raises: Unprocessable."""
    known = ", ".join(_PARSERS)
    faults = [Fault(name[:64], f"unknown field; known are {known}") for name in fields if name not in _PARSERS]
    values: dict[str, Any] = {}
    for name, parse in _PARSERS.items():
        given = fields.get(name)
        if given is None:
            continue
        try:
            values[name] = parse(given)
        except ValueError as error:
            faults.append(Fault(name, str(error)))
    if fields.get("prompt") is None:
        faults.append(Fault("prompt", f"is required: 1 to {MAX_PROMPT_CHARACTERS} characters"))
    if faults:
        raise Unprocessable.from_faults(faults[:MAX_FAULTS])
    return Asked(**values)


def model_named(fields: Mapping[str, object]) -> str:
    """The `model` of a body that has no other field. Raises: Unprocessable."""
    faults = [Fault(name[:64], "unknown field; known is model") for name in fields if name != "model"]
    given = fields.get("model")
    if not isinstance(given, str) or not re.fullmatch(rf"{NAME}(/{NAME})?", given):
        faults.append(Fault("model", "is required: namespace/name of a fleet"))
    if faults:
        raise Unprocessable.from_faults(faults[:MAX_FAULTS])
    return str(given)


def video_request(asked: Asked, policy: FleetPolicy, random_seed: int) -> VideoRequest:
    """What the fleet's workers will get. Raises: Unprocessable when the fleet does not offer it."""
    tier = chosen_tier(policy, tier=asked.tier, size=asked.size, seconds=asked.seconds)
    if isinstance(tier, Fault):
        raise Unprocessable.from_faults([tier])
    if asked.guidance_scale_2 is not None and not CONSTANTS[policy.architecture].has_two_experts:
        message = f"the model of {policy.fleet} has one expert; leave it out and use guidance_scale"
        raise Unprocessable.from_faults([Fault("guidance_scale_2", message)])
    return VideoRequest(
        prompt=asked.prompt,
        negative_prompt=asked.negative_prompt,
        seed=random_seed if asked.seed is None else asked.seed,
        guidance_scale=asked.guidance_scale,
        guidance_scale_2=asked.guidance_scale_2,
        tier=tier,
        allow_fallback=asked.allow_fallback,
        output_prefix=policy.output_prefix,
    )


def _prompt(given: object) -> str:
    text = _text(given)
    if not text.strip():
        raise ValueError(f"is empty; say in 1 to {MAX_PROMPT_CHARACTERS} characters what to show")
    return text


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise ValueError("must be text")
    if len(given) > MAX_PROMPT_CHARACTERS:
        raise ValueError(f"has {len(given)} characters, the limit is {MAX_PROMPT_CHARACTERS}; shorten it")
    if not _is_utf8(given):
        raise ValueError("holds half of a surrogate pair; send valid Unicode")
    return given


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _word(example: str, pattern: str) -> Callable[[object], str]:
    """A parser of short names; what does not fit the pattern is refused with the example."""

    def parse(given: object) -> str:
        if not isinstance(given, str) or not re.fullmatch(pattern, given):
            raise ValueError(f"must look like {example}")
        return given

    return parse


def _seconds(given: object) -> Decimal:
    text = _number_text(given)
    if not _NUMBER.fullmatch(text) or Decimal(text) <= 0:
        raise ValueError('must be a positive number of seconds, e.g. "4" or 5.1')
    return Decimal(text)


def _seed(given: object) -> int:
    text = _number_text(given)
    if not _INTEGER.fullmatch(text) or not 0 <= int(text) <= MAX_SEED:
        raise ValueError(f"must be a whole number from 0 to {MAX_SEED}; leave it out for a random one")
    return int(text)


def _guidance(given: object) -> float:
    low, high = GUIDANCE_RANGE
    text = _number_text(given)
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if not low <= value <= high:
        raise ValueError(f"must be a number from {low:g} to {high:g}; leave it out for the model's default")
    return value


def _priority(given: object) -> Priority:
    try:
        return Priority(str(given))
    except ValueError:
        raise ValueError(f"must be one of {', '.join(Priority)}") from None


def _webhook(given: object) -> str:
    """`{"url": …}`, or the URL itself."""
    url = given.get("url") if isinstance(given, dict) and set(given) == {"url"} else given
    if not isinstance(url, str) or not url:
        raise ValueError('must be {"url": "https://…"}')
    return url


def _flag(given: object) -> bool:
    """Forms have text only."""
    if given is True or given == "true":
        return True
    if given is False or given == "false":
        return False
    raise ValueError("must be true or false")


def _number_text(given: object) -> str:
    """A number's plain digits; "" for what is neither number nor text (booleans are no numbers here)."""
    if isinstance(given, str):
        return given
    return str(given) if isinstance(given, int | float) and not isinstance(given, bool) else ""


_PARSERS: Final[Mapping[str, Callable[[object], Any]]] = {
    "prompt": _prompt,
    "model": _word("namespace/name, e.g. default/tiny", rf"{NAME}(/{NAME})?"),
    "tier": _word("the name of a tier, e.g. 720p", NAME),
    "size": _word("WIDTHxHEIGHT in pixels, e.g. 1280x720", r"[0-9]{1,5}x[0-9]{1,5}"),
    "seconds": _seconds,
    "seed": _seed,
    "negative_prompt": _text,
    "guidance_scale": _guidance,
    "guidance_scale_2": _guidance,
    "priority": _priority,
    "deadline": deadline,
    "webhook": _webhook,
    "cache": _flag,
    "allow_fallback": _flag,
}
ACCEPTED: Final = tuple(_PARSERS)
