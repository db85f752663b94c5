"""The jobs that come: from a trace file, or made up in the shape of one.

A trace is a CSV with `gmt_create`, `exec_time_seconds` and `groupId`, as the public GenTD26 trace has them. `load`
squeezes or stretches the arrival times until the busiest hour brings that share of what all workers can do.
"""

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

HOUR_S: Final = 3600.0
DAY_S: Final = 24 * HOUR_S
SHARES: Final = {"interactive": 0.5, "standard": 0.3, "batch": 0.2}  # of the jobs of a trace, which names no priority
PROTECTED: Final = 0.2  # of the jobs: allow_fallback is false


class TraceError(Exception):
    """The trace cannot be used; the message names the file, the line and the column."""


@dataclass(frozen=True, slots=True)
class Job:
    """One video asked for."""

    at_s: float
    work_s: float  # worker seconds at the best tier
    tenant: str
    priority: int  # 0 interactive, 1 standard, 2 batch
    is_protected: bool


def read_trace(path: Path, first_day: str = "", last_day: str = "9999") -> list[Job]:
    """The jobs of a trace, days given as YYYY-MM-DD, both included. Raises: TraceError."""
    jobs, draw, number = [], random.Random(path.name), 1  # noqa: S311 - a simulation
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                number += 1
                if row["exec_time_seconds"] and first_day <= row["gmt_create"][:10] <= last_day:
                    at_s = datetime.fromisoformat(row["gmt_create"]).replace(tzinfo=UTC).timestamp()
                    work_s = max(1.0, float(row["exec_time_seconds"]))
                    jobs.append(_job(at_s, work_s, row["groupId"], draw))
    except OSError as error:
        raise TraceError(f"{path}: cannot be read: {error.strerror}") from error
    except KeyError as error:
        raise TraceError(f"{path}: has no column {error}; it needs gmt_create, exec_time_seconds, groupId") from error
    except ValueError as error:
        raise TraceError(f"{path}, line {number}: {error}") from error
    if not jobs:
        raise TraceError(f"{path}: no row between {first_day or 'the beginning'} and {last_day}")
    return sorted(jobs, key=lambda job: job.at_s)


def _job(at_s: float, work_s: float, tenant: str, draw: random.Random) -> Job:
    priority = draw.choices((0, 1, 2), tuple(SHARES.values()))[0]
    return Job(at_s, work_s, tenant, priority, draw.random() < PROTECTED)


def busiest_hour_s(jobs: Sequence[Job], hour_s: float = HOUR_S) -> float:
    """The most work that arrives within an hour, whenever the hour begins."""
    most = work = 0.0
    first = 0
    for job in jobs:
        work += job.work_s
        while jobs[first].at_s <= job.at_s - hour_s:
            work -= jobs[first].work_s
            first += 1
        most = max(most, work)
    return most


def at_load(jobs: Sequence[Job], load: float, workers: int) -> list[Job]:
    """The same jobs, closer together or further apart: the busiest hour asks for `load` of these workers."""
    wanted_s = load * workers * HOUR_S
    low, high = 1e-3, 1e3
    for _ in range(40):
        middle = (low * high) ** 0.5
        if busiest_hour_s(jobs, HOUR_S * middle) < wanted_s:  # an hour then is `middle` hours of the trace
            low = middle
        else:
            high = middle
    start = jobs[0].at_s
    return [replace(job, at_s=(job.at_s - start) / high) for job in jobs]
