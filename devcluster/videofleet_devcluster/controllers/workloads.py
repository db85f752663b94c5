"""Performs the plans of Deployments and ReplicaSets. No decision is taken here."""

import asyncio
from datetime import UTC, datetime

from videofleet_devcluster.client import DEPLOYMENTS, PODS, REPLICA_SETS, ApiClient, ApiError
from videofleet_devcluster.controllers.deployment import REVISION, DeploymentPlan, Scale, plan_deployment
from videofleet_devcluster.controllers.deployment_status import changed_status
from videofleet_devcluster.controllers.replicaset import phase_of, plan_replica_set
from videofleet_devcluster.events import Recorder
from videofleet_devcluster.informer import Informer
from videofleet_devcluster.objects import Key, Object, annotations_of, is_controlled_by, is_deleting, key_of


class Workloads:
    """Reconciles Deployments into ReplicaSets and ReplicaSets into pods."""

    def __init__(self, client: ApiClient, deployments: Informer, replica_sets: Informer, pods: Informer) -> None:
        self._client = client
        self._deployments, self._replica_sets, self._pods = deployments, replica_sets, pods
        self._deployment_events = Recorder(client, "deployment-controller")
        self._replica_set_events = Recorder(client, "replicaset-controller")

    async def deployment(self, key: Key) -> float | None:
        """One step of a Deployment."""
        deployment = self._deployments.get(key)
        if deployment is None or is_deleting(deployment):
            return None
        mine = [rs for rs in self._replica_sets.all(key[0]) if is_controlled_by(rs, deployment)]
        unended = {rs["metadata"]["uid"]: self._unended(rs) for rs in mine}
        plan = plan_deployment(deployment, mine, unended, datetime.now(UTC))
        await self._perform(deployment, plan)
        return plan.requeue_after_s

    def _unended(self, replica_set: Object) -> int:
        """Pods that have not ended, terminating ones included."""
        pods = self._pods.all(key_of(replica_set)[0])
        return sum(is_controlled_by(pod, replica_set) and phase_of(pod) not in ("Succeeded", "Failed") for pod in pods)

    async def _perform(self, deployment: Object, plan: DeploymentPlan) -> None:
        namespace, name = key_of(deployment)
        if plan.create is not None:
            created = await self._client.create(REPLICA_SETS, plan.create)
            self._replica_sets.observe(created)
            await self._tell(deployment, Scale(created | {"spec": {"replicas": 0}}, created["spec"]["replicas"]))
        for scale in plan.scale:
            patch: Object = {"spec": {"replicas": scale.replicas}}
            self._replica_sets.observe(await self._client.patch(REPLICA_SETS, *key_of(scale.replica_set), patch))
            await self._tell(deployment, scale)
        for rs in plan.delete:
            await self._client.delete(REPLICA_SETS, *key_of(rs), uid=rs["metadata"]["uid"])
        if plan.current is not None and annotations_of(plan.current).get(REVISION) != plan.revision:
            patch = {"metadata": {"annotations": {REVISION: plan.revision}}}  # rolled back to it
            self._replica_sets.observe(await self._client.patch(REPLICA_SETS, *key_of(plan.current), patch))
        if annotations_of(deployment).get(REVISION) != plan.revision:
            patch = {"metadata": {"annotations": {REVISION: plan.revision}}}
            deployment = await self._client.patch(DEPLOYMENTS, namespace, name, patch)
            self._deployments.observe(deployment)
        status = changed_status(deployment.get("status"), plan.status)
        if status is not None:
            self._deployments.observe(
                await self._client.patch(DEPLOYMENTS, namespace, name, {"status": status}, "status")
            )

    async def _tell(self, deployment: Object, scale: Scale) -> None:
        await self._deployment_events.record(deployment, DEPLOYMENTS, "Normal", "ScalingReplicaSet", scale.why)

    async def replica_set(self, key: Key) -> float | None:
        """One step of a ReplicaSet."""
        replica_set = self._replica_sets.get(key)
        if replica_set is None or is_deleting(replica_set):
            return None
        mine = [pod for pod in self._pods.all(key[0]) if is_controlled_by(pod, replica_set)]
        plan = plan_replica_set(replica_set, mine, datetime.now(UTC))
        await asyncio.gather(*(self._create(replica_set, plan.template) for _ in range(plan.create)))
        await asyncio.gather(*(self._delete(replica_set, pod) for pod in plan.delete))
        status = changed_status(replica_set.get("status"), plan.status)
        if status is not None:
            self._replica_sets.observe(await self._client.patch(REPLICA_SETS, *key, {"status": status}, "status"))
        return plan.requeue_after_s

    async def _create(self, replica_set: Object, template: Object) -> None:
        try:
            pod = await self._client.create(PODS, template)
        except ApiError as error:
            message = f"Error creating: {error.message}"
            await self._replica_set_events.record(replica_set, REPLICA_SETS, "Warning", "FailedCreate", message)
            raise
        self._pods.observe(pod)
        message = f"Created pod: {pod['metadata']['name']}"
        await self._replica_set_events.record(replica_set, REPLICA_SETS, "Normal", "SuccessfulCreate", message)

    async def _delete(self, replica_set: Object, pod: Object) -> None:
        answer = await self._client.delete(PODS, *key_of(pod), uid=pod["metadata"]["uid"])
        if "deletionTimestamp" in answer.get("metadata", {}):
            self._pods.observe(answer)
        else:
            self._pods.forget(pod)
        message = f"Deleted pod: {pod['metadata']['name']}"
        await self._replica_set_events.record(replica_set, REPLICA_SETS, "Normal", "SuccessfulDelete", message)
