"""The moderation hook: another service judges each prompt before it is queued and each video before it is delivered.

A video is judged when somebody first asks for its content, and the verdict is kept with the job. Where the hook does
not answer, the tenant's rule decides: `open` lets pass and asks again next time, `closed` refuses for the moment. The
hook gets prompts and videos, so its address comes from the installation's settings only; redirects are not followed.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

import aiohttp

from videofleet.jobs import Job, Verdict
from videofleet.store import ObjectStore
from videofleet_gateway.auth import Caller
from videofleet_gateway.metrics import Metrics
from videofleet_gateway.problems import RETRY_SOON_S, Problem, Unavailable
from videofleet_gateway.tenants import Moderation

log: Final = logging.getLogger(__name__)

PROMPT_S: Final = 3.0
VIDEO_S: Final = 30.0
_REPLY_BYTES: Final = 65_536
_REASON_CHARACTERS: Final = 200


class Stage(StrEnum):
    """What is judged."""

    PROMPT = "prompt"
    VIDEO = "video"


class PromptRefusedByHook(Problem):
    """Nothing was queued."""

    status, kind, default_code = 422, "invalid_request_error", "moderation_refused"


class VideoRefusedByHook(Problem):
    """The video exists and is not delivered."""

    status, kind, default_code = 403, "permission_error", "moderation_refused"


@dataclass(frozen=True)
class Hook:
    """Where it is, and what it knows us by."""

    url: str = field(repr=False)  # may hold a password
    key: str | None = field(repr=False)


@dataclass(frozen=True)
class _Answer:
    allows: bool
    reason: str


class Moderator:
    """Asks the hook; without one, everything is allowed."""

    def __init__(self, hook: Hook | None, metrics: Metrics) -> None:
        self._hook = hook
        self._metrics = metrics
        self._session: aiohttp.ClientSession | None = None
        self._asking: dict[str, asyncio.Task[Verdict | None]] = {}

    async def close(self) -> None:
        """Closes the connections."""
        if self._session is not None:
            await self._session.close()

    async def check_prompt(self, caller: Caller, prompt: str, negative_prompt: str) -> None:
        """Raises: PromptRefusedByHook, Unavailable."""
        if self._hook is None or caller.rules.moderation is Moderation.OFF:
            return
        fields = {"stage": Stage.PROMPT, "tenant": caller.tenant, "prompt": prompt, "negative_prompt": negative_prompt}
        headers = {"Content-Type": "application/json"}
        answer = await self._ask(self._hook, Stage.PROMPT, caller, headers, json.dumps(fields).encode(), PROMPT_S)
        if answer is None:
            _unless_open(caller)
        elif not answer.allows:
            raise PromptRefusedByHook(_words("the prompt was refused", answer.reason), param="prompt")

    async def check_video(self, caller: Caller, job: Job, store: ObjectStore, key: str) -> Verdict | None:
        """The verdict, to be kept when it is new; None when nobody judged. Raises: Unavailable."""
        if self._hook is None or caller.rules.moderation is Moderation.OFF:
            return None
        verdict = job.verdict or await self._judged_once(self._hook, caller, job, store, key)
        if verdict is None:
            _unless_open(caller)
        return verdict

    async def _judged_once(self, hook: Hook, caller: Caller, job: Job, store: ObjectStore, key: str) -> Verdict | None:
        """However many ask for it at the same time."""
        if job.id not in self._asking:
            self._asking[job.id] = task = asyncio.create_task(self._judged(hook, caller, job, store, key))
            task.add_done_callback(lambda _: self._asking.pop(job.id, None))
        return await asyncio.shield(self._asking[job.id])

    async def _judged(self, hook: Hook, caller: Caller, job: Job, store: ObjectStore, key: str) -> Verdict | None:
        headers = {"Content-Type": "video/mp4", "VideoFleet-Video": job.id}
        answer = await self._ask(hook, Stage.VIDEO, caller, headers, store.read(key), VIDEO_S)
        return None if answer is None else Verdict.ALLOWED if answer.allows else Verdict.REFUSED

    async def _ask(
        self,
        hook: Hook,
        stage: Stage,
        caller: Caller,
        headers: Mapping[str, str],
        body: bytes | AsyncIterator[bytes],
        limit_s: float,
    ) -> _Answer | None:
        """None when the hook gave no answer that we understand."""
        said = dict(headers) | {"VideoFleet-Stage": stage, "VideoFleet-Tenant": caller.tenant}
        if hook.key is not None:
            said["Authorization"] = f"Bearer {hook.key}"
        self._session = self._session or aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None))
        try:
            async with (
                asyncio.timeout(limit_s),
                self._session.post(hook.url, data=body, headers=said, allow_redirects=False) as reply,
            ):
                answer = _read(reply.status, await reply.content.read(_REPLY_BYTES))
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            log.warning("the moderation hook gave no answer", extra={"stage": stage, "error": type(error).__name__})
            answer = None
        outcome = "unanswered" if answer is None else "allowed" if answer.allows else "refused"
        self._metrics.moderation.labels(stage, outcome).inc()
        return answer


def _read(status: int, body: bytes) -> _Answer:
    """Raises: ValueError."""
    told: Any = json.loads(body) if status == 200 else None
    if not isinstance(told, dict) or not isinstance(told.get("allow"), bool):
        raise ValueError('the hook must answer 200 with {"allow": true or false}')
    return _Answer(told["allow"], str(told.get("reason") or "")[:_REASON_CHARACTERS])


def _words(what: str, reason: str) -> str:
    return f"{what} by your organisation's moderation" + (f": {reason}" if reason else "")


def _unless_open(caller: Caller) -> None:
    """The hook is away. Raises: Unavailable where that refuses."""
    if caller.rules.moderation is Moderation.CLOSED:
        raise Unavailable(
            "moderation does not answer, and your organisation wants its word; try again",
            code="moderation_unavailable",
            headers={"Retry-After": str(RETRY_SOON_S)},
        )
