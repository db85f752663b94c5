"""Until when a policy's passing parts hold: marks, fallback and a canary lapse when nobody renews them.

So an operator that is gone leaves no worker marked and no video small. A policy without such parts never expires.
"""

from typing import Final

from videofleet.policy import FleetPolicy

VALID_MS: Final = 300_000  # the operator publishes anew when less than half is left; it looks every minute


def with_expiry(policy: FleetPolicy, published: FleetPolicy | None, now_ms: int) -> FleetPolicy:
    """The policy with its end: that of the published one while it is far enough away."""
    if not (policy.marks or policy.fallback or policy.canary):
        return policy
    until_ms = published.valid_until_ms if published else None
    if until_ms is None or until_ms - now_ms < VALID_MS / 2:
        until_ms = now_ms + VALID_MS
    return policy.model_copy(update={"valid_until_ms": until_ms})
