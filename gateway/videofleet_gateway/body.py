"""The body of a POST as plain fields, from JSON or a form. Refuses what cannot be read; values are judged elsewhere.

Limits: 256 KiB, 64 form fields, 10 s to arrive, no compression (a small body must not become a large one).
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError

from videofleet_gateway.problems import Fault, MalformedBody, Problem, Unprocessable

MAX_BODY_BYTES: Final = 256 << 10  # two texts of 4,000 characters, every one as a JSON surrogate pair, fit
ARRIVAL_S: Final = 10.0
FILE_ARRIVAL_S: Final = 60.0

_JSON_LINES: Final = ("application/jsonl", "application/x-ndjson", "application/x-jsonlines")
_CHUNK_BYTES: Final = 64 << 10

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
    except (ValueError, LookupError, RecursionError, HttpProcessingError) as error:
        raise MalformedBody("the body is not a valid JSON object or form, in UTF-8") from error
    raise UnsupportedMediaType("send application/json or multipart/form-data")


async def read_file(request: web.Request, most_bytes: int) -> bytes:
    """A file of JSON Lines: the body itself, or the part `file` of a form. Raises: as `read_fields`."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType("compressed bodies are not read; send it plain")
    try:
        async with asyncio.timeout(FILE_ARRIVAL_S):
            if request.content_type in _JSON_LINES:
                return await _limited(request.content.iter_chunked(_CHUNK_BYTES), most_bytes)
            if request.content_type == "multipart/form-data":
                return await _file_part(request, most_bytes)
    except TimeoutError as error:
        raise TooSlow(f"the file must arrive within {FILE_ARRIVAL_S:g} s") from error
    except (ValueError, LookupError, HttpProcessingError) as error:
        raise MalformedBody("the form cannot be read") from error
    raise UnsupportedMediaType(f"send {_JSON_LINES[0]}, or multipart/form-data with a part named file")


async def _file_part(request: web.Request, most_bytes: int) -> bytes:
    async for part in await request.multipart():
        if isinstance(part, BodyPartReader) and part.name == "file":
            return await _limited(_chunks(part), most_bytes)
    raise MalformedBody("the form has no part named file")


async def _chunks(part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(_CHUNK_BYTES):
        yield chunk


async def _limited(chunks: AsyncIterator[bytes], most_bytes: int) -> bytes:
    """Raises: HTTPRequestEntityTooLarge as soon as there is too much."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) > most_bytes:
            raise web.HTTPRequestEntityTooLarge(max_size=most_bytes, actual_size=len(data))
    return bytes(data)


def _json_fields(body: bytes) -> dict[str, object]:
    fields = json.loads(body.decode(), object_pairs_hook=without_repeats, parse_constant=_no_constant)
    if not isinstance(fields, dict):
        raise MalformedBody("the body must be a JSON object")
    return fields


def _form_fields(items: list[tuple[str, Any]]) -> dict[str, object]:
    files = [name for name, value in items if not isinstance(value, str)]
    if files:
        faults = [Fault(name[:64], "files are not taken; send text fields only") for name in dict.fromkeys(files)]
        raise Unprocessable.from_faults(faults)
    return _nested(without_repeats(items))


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


def without_repeats(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    """The fields. Raises: MalformedBody when one stands there twice."""
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name in fields:
            raise MalformedBody("a field stands in the body twice; send each once")
        fields[name] = value
    return fields


def _no_constant(_: str) -> float:
    raise ValueError("NaN and Infinity are no JSON")
