"""Which resource is short, in the words of quotas, of schedulers, and of nodes that have GPUs but not together."""

import pytest

from videofleet_operator.observed import DeploymentSeen, FleetSeen, Observed, PodSeen
from videofleet_operator.plan.shortage import shortage

QUOTA = (
    'pods "wan-1" is forbidden: exceeded quota: team-gpus, requested: requests.nvidia.com/gpu=4,'
    " used: requests.nvidia.com/gpu=8, limited: requests.nvidia.com/gpu=8"
)
NO_GPU = (
    "0/3 nodes are available: 3 Insufficient nvidia.com/gpu. preemption: 0/3 nodes are available: 3 No victims found."
)


def seen(*, gpus: int = 1, refusal: str | None = None, unschedulable: str | None = None, leaving: int = 0) -> Observed:
    deployment = DeploymentSeen("r1", True, wanted=2, existing=2, ready=1, refusal=refusal)
    pods = [PodSeen("wan-1", "r1", True), PodSeen("wan-2", "r1", False, unschedulable=unschedulable)]
    pods += [PodSeen(f"old-{number}", "r1", False, is_terminating=True) for number in range(leaving)]
    fleet = FleetSeen("studio", "wan", "uid", 1, {"worker": {"gpus": gpus}}, {})
    return Observed(fleet, deployments=(deployment,), pods=tuple(pods))


@pytest.mark.parametrize(
    ("observed", "words"),
    [
        (seen(), None),
        (seen(refusal=QUOTA), "quota team-gpus allows no more requests.nvidia.com/gpu"),
        (seen(refusal="the webhook says no"), "pods are refused: the webhook says no"),
        (seen(unschedulable=NO_GPU), "no node has nvidia.com/gpu to spare"),
        (seen(unschedulable=NO_GPU, gpus=4), "no single node has 4 nvidia.com/gpu to spare"),
        (
            seen(unschedulable="0/2 nodes: 1 Insufficient memory, 2 Insufficient nvidia.com/gpu.", gpus=2),
            "no single node has memory and 2 nvidia.com/gpu to spare",
        ),
        (
            seen(unschedulable="0/2 nodes: 2 node(s) had untolerated taint {gpu: }."),
            "no node fits: 0/2 nodes: 2 node(s)",
        ),
        (seen(unschedulable=NO_GPU, leaving=2), "to spare while 2 on their way out still hold theirs"),
    ],
)
def test_what_is_short_is_named(observed: Observed, words: str | None) -> None:
    found = shortage(observed, "r1")
    assert (found is None) if words is None else words in (found or "")
