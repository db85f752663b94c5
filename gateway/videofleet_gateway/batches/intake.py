"""The file of a batch as lines, each checked as a single request would be. One bad line costs only itself."""

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from videofleet.jobs import Priority
from videofleet.queue import BatchLine
from videofleet_gateway.auth import Caller
from videofleet_gateway.body import without_repeats
from videofleet_gateway.preparing import prepared
from videofleet_gateway.problems import Fault, MalformedBody, Problem, Unprocessable
from videofleet_gateway.services import Services
from videofleet_gateway.validation import asked_for

MAX_LINES: Final = 5000
ENDPOINT: Final = "/v1/videos"

_CUSTOM_ID: Final = re.compile(r"[!-~]{1,64}")
_KNOWN: Final = frozenset({"custom_id", "method", "url", "body"})
_AT_ONCE: Final = 10  # lines; other requests go on in between


@dataclass(frozen=True)
class _Entry:
    """A line whose frame is well-formed."""

    custom_id: str | None
    fields: Mapping[str, object]


async def read_lines(services: Services, caller: Caller, data: bytes) -> list[BatchLine]:
    """Every line that is not blank, as a job or as an error. Raises: Unprocessable, QueueUnavailable."""
    numbered = [(number, line) for number, line in enumerate(data.splitlines(), 1) if line.strip()]
    if not 1 <= len(numbered) <= MAX_LINES:
        message = f"has {len(numbered)} lines; it may have 1 to {MAX_LINES}, each a JSON object"
        raise Unprocessable.from_faults([Fault("file", message)])
    seen: set[str] = set()
    lines: list[BatchLine] = []
    for begin in range(0, len(numbered), _AT_ONCE):
        page = numbered[begin : begin + _AT_ONCE]
        lines += await asyncio.gather(*(_line(services, caller, number, line, seen) for number, line in page))
    if not any(line.job for line in lines):
        faults = [Fault(f"line {line.number}", f"{line.error_message}") for line in lines[:20]]
        raise Unprocessable.from_faults(faults)
    return lines


async def _line(services: Services, caller: Caller, number: int, line: bytes, seen: set[str]) -> BatchLine:
    custom_id = None
    try:
        entry = _entry(line)
        custom_id = entry.custom_id
        if custom_id is not None and custom_id in seen:
            raise Unprocessable.from_faults([Fault("custom_id", "stands in the file twice; give each line its own")])
        seen.add(custom_id or "")
        asked = replace(asked_for(_of_batch(entry.fields)), priority=Priority.BATCH)
        new = (await prepared(services, caller, asked)).job
        await services.moderator.check_prompt(caller, asked.prompt, asked.negative_prompt)
    except Problem as problem:
        if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise  # not the line's fault: the whole file is tried again
        return BatchLine(
            number=number,
            custom_id=custom_id,
            error_code=problem.code,
            error_message=problem.detail,
            error_param=problem.param,
        )
    return BatchLine(number=number, custom_id=custom_id, job=new)


def _entry(line: bytes) -> _Entry:
    try:
        frame = json.loads(line.decode(), object_pairs_hook=without_repeats)
    except (ValueError, RecursionError) as error:
        raise MalformedBody("the line is no JSON object in UTF-8") from error
    if not isinstance(frame, dict):
        raise MalformedBody("the line is no JSON object in UTF-8")
    faults = [
        Fault(str(name)[:64], "unknown field; known are custom_id, method, url, body")
        for name in frame
        if name not in _KNOWN
    ]
    faults += _frame_faults(frame)
    if faults:
        raise Unprocessable.from_faults(faults[:20])
    return _Entry(custom_id=frame.get("custom_id"), fields=frame["body"])


def _frame_faults(frame: dict[str, Any]) -> list[Fault]:
    faults = []
    custom_id = frame.get("custom_id")
    if custom_id is not None and not (isinstance(custom_id, str) and _CUSTOM_ID.fullmatch(custom_id)):
        faults.append(Fault("custom_id", "must be 1 to 64 visible ASCII characters"))
    for name, only in (("method", "POST"), ("url", ENDPOINT)):
        if frame.get(name, only) != only:
            faults.append(Fault(name, f"must be {only}, or left out"))
    if not isinstance(frame.get("body"), dict):
        faults.append(Fault("body", f"must be an object with the fields of POST {ENDPOINT}"))
    return faults


def _of_batch(fields: Mapping[str, object]) -> Mapping[str, object]:
    """Raises: Unprocessable when the line wants another priority."""
    if fields.get("priority", Priority.BATCH) not in (Priority.BATCH, None):
        raise Unprocessable.from_faults([Fault("priority", "is batch for the lines of a batch; leave it out")])
    return fields
