"""Which resource keeps pods from starting, in a few words: asking for more of them would not help."""

import re
from typing import Any, Final

from videofleet_operator.observed import Observed

_INSUFFICIENT: Final = re.compile(r"Insufficient ([\w./-]+[\w])")
_QUOTA: Final = re.compile(r"exceeded quota: ([\w.-]+).*?requested: ([\w./-]+)=")
_TEXT_MAX: Final = 160
_GPU: Final = "nvidia.com/gpu"  # spec.worker.gpuResource unless it says another


def shortage(observed: Observed, revision: str | None) -> str | None:
    """What is short for the workers of a revision; None when each has a place.

    Examples: "0/2 nodes are available: 2 Insufficient nvidia.com/gpu." → "no node has nvidia.com/gpu to spare"; for
    workers of four GPUs "no single node has 4 nvidia.com/gpu to spare", though the nodes together may have them.
    """
    deployment = observed.deployment(revision)
    if deployment is not None and deployment.refusal:
        return _refused(deployment.refusal) + _leaving(observed)
    for pod in observed.pods:
        if pod.revision == revision and pod.unschedulable and not pod.is_terminating:
            return _unplaced(pod.unschedulable, observed.fleet.spec) + _leaving(observed)
    return None


def _refused(message: str) -> str:
    found = _QUOTA.search(message)
    return f"quota {found[1]} allows no more {found[2]}" if found else f"pods are refused: {message[:_TEXT_MAX]}"


def _unplaced(message: str, spec: Any) -> str:
    short = sorted(set(_INSUFFICIENT.findall(message)))
    if not short:
        return f"no node fits: {message[:_TEXT_MAX]}"
    gpus, resource = gpus_of(spec), spec["worker"].get("gpuResource", _GPU) if gpus_of(spec) > 1 else ""
    told = [f"{gpus} {name}" if name == resource else name for name in short]
    return f"no {'single node' if resource in short else 'node'} has {' and '.join(told)} to spare"


def gpus_of(spec: Any) -> int:
    """GPUs of a worker as the spec says; 1 when it says nothing that can be understood."""
    try:
        return int(spec["worker"]["gpus"])
    except (KeyError, TypeError, ValueError):
        return 1


def _leaving(observed: Observed) -> str:
    leaving = sum(pod.is_terminating for pod in observed.pods)
    return f" while {leaving} on their way out still hold theirs" if leaving else ""
