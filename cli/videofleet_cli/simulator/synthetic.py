"""Made-up load in the shape of a real service: days and nights, sessions of one tenant, heavy tails.

Fitted to the published figures of GenTD26 (26,823 requests in 23 days; median 29 and peak 436 an hour, 64 in the
busiest minute; execution 13/23/53/106 s at p10/p50/p90/p99, mean 28.7 s; the largest of 4,247 tenants sends 4.5 %): a
log-normal execution time; sessions that come by a Poisson process whose rate follows the hour and a slow random tide;
now and then a session that is a script, and sends everything at once.
"""

import math
import random
from typing import Final

from videofleet_cli.simulator.workload import DAY_S, HOUR_S, PROTECTED, SHARES, Job

SESSIONS_AN_HOUR: Final = 7.6  # on average
JOBS_A_SESSION: Final = 6.4  # geometric
PAUSE_S: Final = 45.0  # between two jobs of a session, exponential
WORK_MEDIAN_S: Final = 23.0
WORK_SPREAD: Final = 0.65  # of the logarithm
TIDE_SPREAD: Final = 0.6  # of the logarithm of the rate, from hour to hour
TIDE_MEMORY: Final = 0.8
TENANTS: Final = 4247
SCRIPTS: Final = 0.006  # of the sessions
JOBS_A_SCRIPT: Final = 30


def synthetic(days: float, seed: int) -> list[Job]:
    """Jobs of so many days; the same seed, the same jobs."""
    draw = random.Random(seed)  # noqa: S311 - a simulation
    jobs: list[Job] = []
    tide, now_s = 0.0, 0.0
    for hour in range(math.ceil(days * 24)):
        tide = TIDE_MEMORY * tide + math.sqrt(1 - TIDE_MEMORY**2) * draw.gauss(0, TIDE_SPREAD)
        rate = SESSIONS_AN_HOUR * _daylight(hour) * math.exp(tide - TIDE_SPREAD**2 / 2)
        now_s, end_s = hour * HOUR_S, min((hour + 1) * HOUR_S, days * DAY_S)
        while (now_s := now_s + draw.expovariate(rate / HOUR_S)) < end_s:
            jobs += _session(now_s, draw)
    return sorted(jobs, key=lambda job: job.at_s)


def _daylight(hour: int) -> float:
    """1 on average: deep nights and two humps."""
    angle = 2 * math.pi * (hour % 24 - 15) / 24
    return max(0.08, 1 + 0.9 * math.cos(angle) - 0.35 * math.cos(2 * angle + 0.6))


def _session(start_s: float, draw: random.Random) -> list[Job]:
    tenant = f"T{int(TENANTS * draw.random() ** 2.8):04d}"  # few send much
    priority = draw.choices((0, 1, 2), tuple(SHARES.values()))[0]
    is_protected = draw.random() < PROTECTED
    at_s, jobs = start_s, []
    is_script = draw.random() < SCRIPTS
    length, pause_s = (JOBS_A_SCRIPT, 1.0) if is_script else (JOBS_A_SESSION, PAUSE_S)
    while True:
        work_s = min(600.0, draw.lognormvariate(math.log(WORK_MEDIAN_S), WORK_SPREAD))
        jobs.append(Job(at_s, work_s, tenant, priority, is_protected))
        if draw.random() < 1 / length:
            return jobs
        at_s += draw.expovariate(1 / pause_s)
