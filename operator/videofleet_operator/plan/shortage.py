"""Which resource keeps pods from starting, in a few words: asking for more of them would not help."""

import re
from typing import Final

from videofleet_operator.observed import Observed

_INSUFFICIENT: Final = re.compile(r"Insufficient ([\w./-]+[\w])")
_QUOTA: Final = re.compile(r"exceeded quota: ([\w.-]+).*?requested: ([\w./-]+)=")
_TEXT_MAX: Final = 160


def shortage(observed: Observed, revision: str | None) -> str | None:
    """What is short for the workers of a revision; None when each has a place.

    Example: "0/2 nodes are available: 2 Insufficient nvidia.com/gpu." → "no node has nvidia.com/gpu to spare".
    """
    deployment = observed.deployment(revision)
    if deployment is not None and deployment.refusal:
        return _refused(deployment.refusal) + _leaving(observed)
    for pod in observed.pods:
        if pod.revision == revision and pod.unschedulable and not pod.is_terminating:
            return _unplaced(pod.unschedulable) + _leaving(observed)
    return None


def _refused(message: str) -> str:
    found = _QUOTA.search(message)
    return f"quota {found[1]} allows no more {found[2]}" if found else f"pods are refused: {message[:_TEXT_MAX]}"


def _unplaced(message: str) -> str:
    short = sorted(set(_INSUFFICIENT.findall(message)))
    return f"no node has {' and '.join(short)} to spare" if short else f"no node fits: {message[:_TEXT_MAX]}"


def _leaving(observed: Observed) -> str:
    leaving = sum(pod.is_terminating for pod in observed.pods)
    return f" while {leaving} on their way out still hold theirs" if leaving else ""
