"""The control plane: one informer a kind, shared by the controllers, and their loops."""

import asyncio
from pathlib import Path

from videofleet_devcluster.client import (
    BUDGETS,
    CLAIMS,
    DEPLOYMENTS,
    LEASES,
    NODES,
    PODS,
    REPLICA_SETS,
    SERVICES,
    VOLUMES,
    ApiClient,
)
from videofleet_devcluster.controllers.claims import Claims
from videofleet_devcluster.controllers.disruption import Budgets
from videofleet_devcluster.controllers.endpoints import ServiceEndpoints
from videofleet_devcluster.controllers.nodes import Nodes
from videofleet_devcluster.controllers.scheduler import Scheduling
from videofleet_devcluster.controllers.workloads import Workloads
from videofleet_devcluster.informer import Informer, run_synced


async def run_controllers(client: ApiClient, volumes_root: Path, node_grace_s: float) -> None:
    """Runs all controllers of a cluster until cancelled.

    Args:
        client: allowed to do everything.
        volumes_root: folder for provisioned volumes.
        node_grace_s: how long a node may be silent before it counts as lost.
    """
    kinds = (PODS, NODES, LEASES, DEPLOYMENTS, REPLICA_SETS, SERVICES, CLAIMS, VOLUMES, BUDGETS)
    of = {kind: Informer(client, kind) for kind in kinds}
    workloads = Workloads(client, of[DEPLOYMENTS], of[REPLICA_SETS], of[PODS])
    loops = (
        workloads.deployment_loop,
        workloads.replica_set_loop,
        Scheduling(client, of[PODS], of[NODES], of[CLAIMS]).loop,
        Nodes(client, of[NODES], of[LEASES], of[PODS], node_grace_s).loop,
        Claims(client, of[CLAIMS], of[VOLUMES], volumes_root).loop,
        ServiceEndpoints(client, of[SERVICES], of[PODS]).loop,
        Budgets(client, of[BUDGETS], of[PODS], of[REPLICA_SETS]).loop,
    )
    async with asyncio.TaskGroup() as tasks:
        await run_synced(tasks, of.values())
        for loop in loops:
            tasks.create_task(loop.run())
