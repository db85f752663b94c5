"""Cluster addresses of Services: loopback addresses of 127.10.0.0/16, one a Service."""

import ipaddress
import secrets
from collections.abc import Iterable
from typing import Final

from videofleet_devcluster.apiserver.errors import Cause, invalid
from videofleet_devcluster.apiserver.objects import Object

_RANGE: Final = ipaddress.ip_network("127.10.0.0/16")


def assign_address(service: Object, others: Iterable[Object]) -> None:
    """Writes clusterIP and clusterIPs into a new Service. Raises: ApiError 422 when one is taken."""
    spec = service["spec"]
    if spec["type"] == "ExternalName":
        return
    taken = {other["spec"].get("clusterIP") for other in others}
    wanted = spec.get("clusterIP") or _free_address(taken)
    if wanted != "None" and (wanted in taken or not _is_ours(wanted)):
        why = "provided IP is already allocated" if wanted in taken else f"the provided IP is not in {_RANGE}"
        text = f'Invalid value: ["{wanted}"]: failed to allocate IP {wanted}: {why}'
        cause = Cause("FieldValueInvalid", text, "spec.clusterIPs")
        raise invalid("Service", "", service["metadata"]["name"], [cause])
    spec |= {"clusterIP": wanted, "clusterIPs": [wanted]}


def keep_address(service: Object, live: Object) -> None:
    """A replaced Service keeps the address that the new state does not mention."""
    for field in ("clusterIP", "clusterIPs"):
        if field in live["spec"]:
            service["spec"].setdefault(field, live["spec"][field])


def _free_address(taken: set[str | None]) -> str:
    """Any free one; a random one, because the clusters of one machine share its loopback."""
    while True:
        address = str(_RANGE[1 + secrets.randbelow(_RANGE.num_addresses - 2)])
        if address not in taken:
            return address


def _is_ours(address: str) -> bool:
    try:
        return ipaddress.ip_address(address) in _RANGE
    except ValueError:
        return False
