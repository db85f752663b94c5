"""What the queries of `analysis.metrics[]` ask, and what their answers say of a canary.

A figure outside its limits three looks in a row rejects; a step is passed only while every figure lies within. No
answer, an empty one or NaN says nothing: the canary is held, with the reason, and never passes by it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from string import Template
from typing import Final

from videofleet_operator.crd.rollout_status import Phase, RolloutStatus
from videofleet_operator.crd.sections.metrics import MetricQuery
from videofleet_operator.observed import Measure

IN_ROW: Final = 3
_ASKING: Final = frozenset({Phase.STEPPING, Phase.PAUSED, Phase.PROMOTING})


@dataclass(frozen=True)
class Question:
    """A query as Prometheus is to get it."""

    name: str
    promql: str


@dataclass(frozen=True)
class Opinion:
    """What all queries together say; both None: everything is within its limits."""

    failed: str | None = None  # why the canary is turned down
    held: str | None = None  # why nothing can be said yet


def questions(queries: Iterable[MetricQuery] | None, status: RolloutStatus, fleet: str) -> tuple[Question, ...]:
    """What to ask now: nothing unless a canary has jobs."""
    if status.phase not in _ASKING or status.canary_revision is None:
        return ()
    words = {"canary": status.canary_revision, "stable": status.stable_revision or "", "fleet": fleet}
    return tuple(Question(one.name, Template(one.query).safe_substitute(words)) for one in queries or ())


def opinion(queries: Iterable[MetricQuery] | None, measures: Iterable[Measure]) -> Opinion:
    """What the latest answers say."""
    known = {measure.name: measure for measure in measures}
    held = None
    for query in queries or ():
        measure = known.get(query.name, Measure(query.name, (), "not asked yet"))
        breaches = [_breach(query, value) for value in measure.recent]
        if len(breaches) == IN_ROW and all(breaches):
            return Opinion(failed=f"Metric {query.name} {breaches[-1]}, {IN_ROW} looks in a row")
        latest = breaches[-1] if breaches else None
        held = held or _doubt(query.name, measure, latest)
    return Opinion(held=held)


def _doubt(name: str, measure: Measure, breach: str | None) -> str | None:
    if measure.why_not:
        return f"Metric {name}: {measure.why_not}"
    if not measure.recent or measure.recent[-1] is None or math.isnan(measure.recent[-1]):
        return f"Metric {name}: the answer is no number"
    return f"Metric {name} {breach}" if breach else None


def _breach(query: MetricQuery, value: float | None) -> str | None:
    """In what way a figure is outside; None: it is not, or is none."""
    if value is None or math.isnan(value):
        return None
    if query.max is not None and value > float(query.max):
        return f"is {value:.3g}, more than {query.max}"
    if query.min is not None and value < float(query.min):
        return f"is {value:.3g}, less than {query.min}"
    return None
