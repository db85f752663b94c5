"""A canary's way through the steps of `spec.rollout`, by evidence.

A step is passed with `minJobs` attempts and, at step i of n, i/n of the evidence that promotion needs: a bad canary,
which gathers none, stays at the smallest weight. Evidence goes on while it is paused, so that a paused canary that
turns bad is rejected too. While Redis does not answer nothing moves.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from videofleet_operator.crd.comparison import TrackFigures
from videofleet_operator.crd.quantities import duration_s
from videofleet_operator.crd.rollout_status import VERDICT_MAX, Evidence, PauseCause, Phase, RolloutStatus
from videofleet_operator.crd.sections.rollout import Rollout
from videofleet_operator.observed import Measure, QueueSeen
from videofleet_operator.plan.comparison import begun, figures_of, grown
from videofleet_operator.plan.counters import seen_of
from videofleet_operator.plan.golden import Rendered, rendered
from videofleet_operator.plan.measures import opinion
from videofleet_operator.plan.rejections import rejected
from videofleet_operator.plan.times import moment, timestamp
from videofleet_operator.plan.verdict import Judgement, first_look, is_current, is_worth_a_look, judgement, look

LOOK_EVERY_S: Final = 10  # each look is a write of the status


@dataclass(frozen=True)
class Trial:
    """What a canary is judged by now."""

    rules: Rollout
    queue: QueueSeen | None
    canary: str
    stable: str
    ready: int  # warm workers of the canary
    now: datetime
    measures: tuple[Measure, ...] = ()


def next_state(status: RolloutStatus, trial: Trial) -> RolloutStatus:
    """The state after this look."""
    if trial.queue is None or (status.evidence is None and not status.is_proving and not trial.ready):
        return status
    count = trial.rules.analysis.golden_prompts
    if status.is_proving or (count and status.phase == Phase.WARMING_UP):
        status = _proving(status, rendered(trial.queue.stats.golden, trial.canary, trial.stable, count), trial)
        if status.phase != Phase.WARMING_UP:
            return status
    status = _looked(status, trial.queue, trial)
    evidence = status.evidence
    if evidence is None:
        return status
    verdict = judgement(evidence, trial.rules.analysis)
    said = opinion(trial.rules.analysis.metrics, trial.measures)
    words = f"{verdict.words}. Held: {said.held}" if said.held else verdict.words
    told = {"verdict": words[:VERDICT_MAX], "samples": evidence.metrics[0].canary}
    status = status.model_copy(update=told)
    if verdict.failed is not None or said.failed is not None:
        return rejected(status, trial.canary, verdict.words if verdict.failed else str(said.failed), trial.now)
    if status.phase == Phase.PROMOTING:
        return status.model_copy(update={"eta": None})
    return _stepped(status, evidence, verdict, trial, is_held=said.held is not None)


def _proving(status: RolloutStatus, golden: Rendered, trial: Trial) -> RolloutStatus:
    """Begins with the golden prompts, goes on with them, or has done with them: then the first step may begin.

    They have as long as a step. Prompts that are stuck pause it; those that end after all go on with it.
    """
    if status.phase == Phase.WARMING_UP:
        return status.model_copy(update={"phase": Phase.PROVING, "since": timestamp(trial.now)})
    if golden.failed is not None:
        return rejected(status, trial.canary, golden.failed, trial.now)
    status = status.model_copy(update={"verdict": golden.words})
    if status.paused == PauseCause.COMMAND:
        return status
    if golden.is_proven and trial.ready:
        return status.model_copy(update={"phase": Phase.WARMING_UP, "paused": None})
    return _paused(status, PauseCause.INSUFFICIENT_EVIDENCE) if _is_out_of_time(status, trial) else status


def _looked(status: RolloutStatus, queue: QueueSeen, trial: Trial) -> RolloutStatus:
    canary, stable = seen_of(queue.outcomes, trial.canary), seen_of(queue.outcomes, trial.stable)
    beside = _figures(queue, trial)
    if status.evidence is None or not is_current(status.evidence):
        fields: dict[str, Any] = {"evidence": first_look(canary, stable, trial.now)}
        fields["comparison"] = begun(trial.canary, trial.stable, *beside, timestamp(trial.now))
        if status.phase == Phase.WARMING_UP:
            fields |= {"phase": Phase.STEPPING, "step": 1, "since": timestamp(trial.now)}
        return status.model_copy(update=fields)
    is_due = trial.now - moment(status.evidence.looked, trial.now) >= timedelta(seconds=LOOK_EVERY_S)
    if not is_due or not is_worth_a_look(status.evidence, canary, stable):
        return status
    fields = {"evidence": look(status.evidence, canary, stable, trial.rules.analysis, trial.now)}
    if status.comparison is not None:
        fields["comparison"] = grown(status.comparison, *beside, timestamp(trial.now))
    return status.model_copy(update=fields)


def _figures(queue: QueueSeen, trial: Trial) -> tuple[TrackFigures, TrackFigures]:
    """Of the canary and of stable."""
    canary, stable = (figures_of(queue.outcomes, queue.opinions, each) for each in (trial.canary, trial.stable))
    return canary, stable


def _stepped(
    status: RolloutStatus, evidence: Evidence, verdict: Judgement, trial: Trial, *, is_held: bool
) -> RolloutStatus:
    """On to the next step, held, or paused."""
    if status.paused == PauseCause.COMMAND:
        return status
    steps = trial.rules.steps or []
    step = min(max(status.step, 1), len(steps))
    if not is_held and _is_passed(step, len(steps), evidence, verdict, trial):
        if steps[step - 1].hold == "Manual" and not status.is_approved:
            return _paused(status, PauseCause.MANUAL_GATE)
        return _next_step(status, evidence, step, len(steps), trial.now)
    if status.paused == PauseCause.MANUAL_GATE or status.paused == PauseCause.INSUFFICIENT_EVIDENCE:
        return status
    if _is_out_of_time(status, trial):
        return _paused(status, PauseCause.INSUFFICIENT_EVIDENCE)
    since = moment(status.since, trial.now)
    return status.model_copy(update={"eta": _eta(step, len(steps), evidence, verdict, since, trial)})


def _is_out_of_time(status: RolloutStatus, trial: Trial) -> bool:
    most = timedelta(seconds=duration_s(trial.rules.analysis.max_step_duration))
    return trial.now - moment(status.since, trial.now) > most


def _is_passed(step: int, steps: int, evidence: Evidence, verdict: Judgement, trial: Trial) -> bool:
    attempts = evidence.metrics[0].canary - evidence.step_began
    return attempts >= trial.rules.analysis.min_jobs and verdict.proven >= step / steps


def _next_step(status: RolloutStatus, evidence: Evidence, step: int, steps: int, now: datetime) -> RolloutStatus:
    began = evidence.model_copy(update={"step_began": evidence.metrics[0].canary})
    fields: dict[str, Any] = {"since": timestamp(now), "evidence": began, "paused": None, "eta": None}
    fields |= {"is_approved": False, "phase": Phase.PROMOTING if step == steps else Phase.STEPPING}
    return status.model_copy(update=fields | {"step": min(step + 1, steps)})


def _paused(status: RolloutStatus, cause: PauseCause) -> RolloutStatus:
    return status.model_copy(update={"phase": Phase.PAUSED, "paused": cause, "eta": None})


def _eta(step: int, steps: int, evidence: Evidence, verdict: Judgement, since: datetime, trial: Trial) -> str | None:
    """When the step has its evidence at the rate of this step so far; None while that cannot be said."""
    attempts = evidence.metrics[0].canary - evidence.step_began
    looked = moment(evidence.looked, trial.now)
    if not attempts or verdict.jobs_needed is None or looked <= since:
        return None
    for_proof = verdict.jobs_needed * max(0.0, step / steps - verdict.proven) / max(1e-9, 1 - verdict.proven)
    needed = max(trial.rules.analysis.min_jobs - attempts, for_proof, 0)
    return timestamp(looked + (looked - since) * (needed / attempts))
