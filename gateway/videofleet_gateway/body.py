"""The body of a POST as plain fields, from JSON or a form. Refuses what cannot be read; values are judged elsewhere.

Limits: 256 KiB, 64 form fields, 10 s to arrive, no compression (a small body must not become a large one).
"""

import asyncio
import json
import re
from collections.abc import Iterable
from typing import Any, Final

from aiohttp import web

from videofleet_gateway.problems import Fault, MalformedBody, Problem, Unprocessable

MAX_BODY_BYTES: Final = 256 << 10  # two texts of 4,000 characters, every one as a JSON surrogate pair, fit
ARRIVAL_S: Final = 10.0

_NESTED: Final = re.compile(r"([a-z_]{1,64})\[([a-z_]{1,64})\]")


class UnsupportedMediaType(Problem):
    """Neither JSON nor a form, or compressed."""

    status, kind, default_code = 415, "invalid_request_error", "unsupported_media_type"


class TooSlow(Problem):
    """The body did not arrive in time."""

    status, kind, default_code = 408, "invalid_request_error", "request_timeout"


async def read_fields(request: web.Request) -> dict[str, object]:
    """The body's fields. Raises: MalformedBody, UnsupportedMediaType, TooSlow, Unprocessable for files."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType("compressed bodies are not read; send it plain")
    try:
        async with asyncio.timeout(ARRIVAL_S):
            match request.content_type:
                case "application/json":
                    return _json_fields(await request.read())
                case "multipart/form-data":
                    return _form_fields(list((await request.post()).items()))
    except TimeoutError as error:
        raise TooSlow(f"the body must arrive within {ARRIVAL_S:g} s") from error
    except (ValueError, LookupError, RecursionError) as error:
        raise MalformedBody("the body is not a valid JSON object or form, in UTF-8") from error
    raise UnsupportedMediaType("send application/json or multipart/form-data")


def _json_fields(body: bytes) -> dict[str, object]:
    fields = json.loads(body.decode(), object_pairs_hook=_without_repeats, parse_constant=_no_constant)
    if not isinstance(fields, dict):
        raise MalformedBody("the body must be a JSON object")
    return fields


def _form_fields(items: list[tuple[str, Any]]) -> dict[str, object]:
    files = [name for name, value in items if not isinstance(value, str)]
    if files:
        faults = [Fault(name[:64], "files are not taken; send text fields only") for name in dict.fromkeys(files)]
        raise Unprocessable.from_faults(faults)
    return _nested(_without_repeats(items))


def _nested(fields: dict[str, object]) -> dict[str, object]:
    """`webhook[url]`, as the OpenAI SDK spells an object in a form, becomes the object."""
    nested: dict[str, object] = {}
    for name, value in fields.items():
        match = _NESTED.fullmatch(name)
        if match is None:
            nested[name] = value
            continue
        inner = nested.setdefault(match[1], {})
        if not isinstance(inner, dict):
            raise MalformedBody("a field stands in the body twice; send each once")
        inner[match[2]] = value
    return nested


def _without_repeats(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name in fields:
            raise MalformedBody("a field stands in the body twice; send each once")
        fields[name] = value
    return fields


def _no_constant(_: str) -> float:
    raise ValueError("NaN and Infinity are no JSON")
