"""Asks the installation's Prometheus what canaries are to be judged by, beside the reconciles and never inside one.

An abort must not wait for a slow Prometheus: `look` hands back what is known and asks anew behind it. Only the URL in
operator.yaml is ever called, redirects are not followed, and an answer is cut off at 64 KiB.
"""

import asyncio
import json
import math
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from videofleet_operator.observed import Measure
from videofleet_operator.plan.measures import IN_ROW, Question
from videofleet_operator.workqueue import Key

ASK_EVERY_S: Final = 10.0
TIMEOUT_S: Final = 5.0
ANSWER_MOST: Final = 65_536


@dataclass
class _Asked:
    """One fleet's questions and the answers so far."""

    questions: tuple[Question, ...]
    at_s: float
    measures: dict[str, Measure] = field(default_factory=dict)
    task: "asyncio.Task[None] | None" = None


class NoNumber(Exception):
    """Prometheus gave no number; the message says why."""


class Prometheus:
    """The one Prometheus of an installation; without a URL it answers nothing, and says so."""

    def __init__(self, url: str | None) -> None:
        self._url = url
        self._asked: dict[Key, _Asked] = {}

    def look(self, key: Key, questions: tuple[Question, ...]) -> tuple[Measure, ...]:
        """What is known of a fleet's questions; they are asked again when that is ten seconds old."""
        if not questions:
            self.forget(key)
            return ()
        if self._url is None:
            why = "the installation names no Prometheus (prometheus.url in the chart's values)"
            return tuple(Measure(one.name, (), why) for one in questions)
        asked = self._asked.get(key)
        if asked is None or asked.questions != questions:
            self.forget(key)
            asked = self._asked[key] = _Asked(questions, -math.inf)
        if time.monotonic() - asked.at_s >= ASK_EVERY_S and (asked.task is None or asked.task.done()):
            asked.at_s = time.monotonic()
            asked.task = asyncio.create_task(self._ask(asked))
        return tuple(asked.measures.values())

    def forget(self, key: Key) -> None:
        """Nothing is to be asked of a fleet any more."""
        asked = self._asked.pop(key, None)
        if asked is not None and asked.task is not None:
            asked.task.cancel()

    async def _ask(self, asked: _Asked) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            answers = await asyncio.gather(*(self._answer(session, one) for one in asked.questions))
        for name, answer in answers:
            recent = asked.measures[name].recent if name in asked.measures else ()
            number, reason = (answer, "") if isinstance(answer, float) else (None, answer)
            asked.measures[name] = Measure(name, (*recent, number)[-IN_ROW:], reason)

    async def _answer(self, session: aiohttp.ClientSession, question: Question) -> tuple[str, float | str]:
        """The number, or why there is none."""
        url = f"{str(self._url).rstrip('/')}/api/v1/query"
        try:
            async with session.post(url, data={"query": question.promql}, allow_redirects=False) as reply:
                body = await reply.content.read(ANSWER_MOST)
                if reply.status >= 300:
                    return question.name, f"Prometheus answers {reply.status}"
            return question.name, number_in(body)
        except NoNumber as error:
            return question.name, str(error)
        except TimeoutError:
            return question.name, f"Prometheus does not answer within {TIMEOUT_S:g} s"
        except aiohttp.ClientError as error:
            return question.name, f"Prometheus cannot be reached ({type(error).__name__})"


def number_in(body: bytes) -> float:
    """The one number of an answer: a scalar, or a vector of one element. Raises: NoNumber."""
    try:
        data = json.loads(body)["data"]
        kind, result = data["resultType"], data["result"]
        samples: Iterable[Any] = [result] if kind == "scalar" else [series["value"] for series in result]
        values = [float(value) for _, value in samples]
    except (ValueError, KeyError, TypeError) as error:
        raise NoNumber("the answer cannot be read as a number") from error
    if len(values) != 1:
        raise NoNumber("the answer is empty" if not values else f"the answer has {len(values)} series, not one")
    if math.isnan(values[0]):
        raise NoNumber("the answer is NaN")
    return values[0]
