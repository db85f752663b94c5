"""From what was asked for to a job that can be queued: fleet, tier, prompt review, webhook, deadline.

One way for a single request and for the lines of a batch. Queues nothing.
"""

import secrets
import time
from dataclasses import dataclass
from typing import Final

from videofleet.ids import job_id
from videofleet.jobs import NewJob, VideoRequest
from videofleet.policy import FleetPolicy
from videofleet_gateway.auth import Caller
from videofleet_gateway.deadlines import deadline_ms
from videofleet_gateway.fleet_choice import chosen_fleet, open_to
from videofleet_gateway.problems import intake_paused
from videofleet_gateway.prompts.advice import Advice, Weight
from videofleet_gateway.prompts.review import Review, review
from videofleet_gateway.services import Services
from videofleet_gateway.validation import Asked, video_request
from videofleet_gateway.webhooks.admission import check_webhook

_SEED_BYTES: Final = 4  # far below 2**53, so that JavaScript reads it back exactly
_ID_BYTES: Final = 10


@dataclass(frozen=True)
class Prepared:
    """A job that may be queued."""

    job: NewJob
    policy: FleetPolicy  # of its fleet
    advice: list[Advice]  # what the prompt's review found


async def prepared(services: Services, caller: Caller, asked: Asked) -> Prepared:
    """Raises: Problem, QueueUnavailable."""
    policy = chosen_fleet(asked.model, open_to(caller.tenant, await services.fleets.policies()))
    if await services.fleets.is_paused(policy.fleet_uid):
        raise intake_paused(policy.fleet)
    check_webhook(asked.webhook, caller.tenant, services.webhooks)
    entropy = secrets.token_bytes(_SEED_BYTES + _ID_BYTES)
    made = video_request(asked, policy, int.from_bytes(entropy[:_SEED_BYTES], "big"))
    judged = review(asked.prompt, caller.rules.prompt_policy, caller.rules.blocked_terms)
    advice = [*judged.advice, *_lowered(judged, made, policy)]
    for each in advice:
        services.metrics.advice.labels(each.code).inc()
    now_ms = int(time.time() * 1000)
    new = NewJob(
        id=job_id(policy.fleet_uid, now_ms, entropy[_SEED_BYTES:]),
        fleet_uid=policy.fleet_uid,
        tenant=caller.tenant,
        request=made.model_copy(update={"tier": policy.tiers[-1]}) if judged.lowest_tier else made,
        priority=asked.priority,
        deadline_ms=deadline_ms(asked.deadline, now_ms),
        webhook=asked.webhook,
    )
    return Prepared(new, policy, advice)


def _lowered(judged: Review, made: VideoRequest, policy: FleetPolicy) -> list[Advice]:
    """Says so when the tenant's policy changes the tier."""
    lowest = policy.tiers[-1]
    if not judged.lowest_tier or made.tier == lowest:
        return []
    return [
        Advice(
            "lower_tier", f"is made in tier {lowest.name}, as your organisation wishes for such prompts", Weight.HINT
        )
    ]
