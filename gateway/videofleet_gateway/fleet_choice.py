"""Which fleet a request means, among those its tenant may use. Pure.

A fleet that a tenant may not use looks exactly like one that does not exist.
"""

from collections.abc import Iterable
from typing import Final

from videofleet.policy import FleetPolicy
from videofleet_gateway.problems import Fault, Gone, NotFound, Unprocessable

_LISTED: Final = 20  # names in an error message


def open_to(tenant: str, policies: Iterable[FleetPolicy]) -> list[FleetPolicy]:
    """The fleets this tenant may use, deleted ones too."""
    return [policy for policy in policies if policy.tenants is None or tenant in policy.tenants]


def chosen_fleet(model: str | None, usable: list[FleetPolicy]) -> FleetPolicy:
    """The one fleet that `model` names: `namespace/name`, a `name` that is unique, or nothing when there is one.

    Raises: NotFound, Gone, Unprocessable.
    """
    living = [policy for policy in usable if policy.closed is None]
    if model is None:
        return _only(living, "is required here")
    fitting = [policy for policy in living if _is_meant(model, policy)]
    if fitting:
        return _only(fitting, f"{model} is ambiguous")
    if any(_is_meant(model, policy) for policy in usable):
        raise Gone(f"the fleet {model} was deleted; choose another: GET /v1/models", param="model")
    raise NotFound(f"no fleet {model} for this key; GET /v1/models lists yours", code="model_not_found", param="model")


def _is_meant(model: str, policy: FleetPolicy) -> bool:
    return model in (policy.fleet, policy.fleet.partition("/")[2])


def _only(fleets: list[FleetPolicy], complaint: str) -> FleetPolicy:
    names = sorted({policy.fleet for policy in fleets})
    if not names:
        raise NotFound("no fleet is open to this key yet", code="model_not_found", param="model")
    if len(names) > 1:
        listed = ", ".join(names[:_LISTED])
        raise Unprocessable.from_faults([Fault("model", f"{complaint}; choose one of {listed}")])
    return fleets[-1]
