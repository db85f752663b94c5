"""Performs the plans of Deployments and ReplicaSets. No decision is taken here."""

import asyncio
from datetime import UTC, datetime

from videofleet_devcluster.client import DEPLOYMENTS, PODS, REPLICA_SETS, ApiClient, ApiError, Recorder
from videofleet_devcluster.controllers.deployment import REVISION, DeploymentPlan, Scale, plan_deployment
from videofleet_devcluster.controllers.loop import Loop
from videofleet_devcluster.controllers.replicaset import failed_create, owned_by, plan_replica_set, pod_from_template
from videofleet_devcluster.informer import Informer
from videofleet_devcluster.objects import (
    ENDED,
    Key,
    Object,
    annotations_of,
    changed_status,
    controller_of,
    is_deleting,
    key_of,
    labels_of,
    phase_of,
    selects,
    uid_of,
)


class Workloads:
    """Reconciles Deployments into ReplicaSets and ReplicaSets into pods."""

    def __init__(self, client: ApiClient, deployments: Informer, replica_sets: Informer, pods: Informer) -> None:
        self._client = client
        self._deployments, self._replica_sets, self._pods = deployments, replica_sets, pods
        self._deployment_events = Recorder(client, "deployment-controller")
        self._replica_set_events = Recorder(client, "replicaset-controller")
        self.deployment_loop = Loop("deployment", self.deployment)
        self.replica_set_loop = Loop("replicaset", self.replica_set)
        deployments.listen(self.deployment_loop.hear)
        replica_sets.listen(lambda replica_set, _: self._replica_set_changed(replica_set))
        pods.listen(self._pod_changed)

    def _replica_set_changed(self, replica_set: Object) -> None:
        self.replica_set_loop.hear(replica_set)
        if (owner := controller_of(replica_set)) is not None:
            self.deployment_loop.add((key_of(replica_set)[0], owner["name"]))

    def _pod_changed(self, pod: Object, before: Object | None) -> None:
        for state in (pod, before or pod):
            for replica_set in self._concerned(state):
                self._replica_set_changed(replica_set)  # and its Deployment: Recreate waits for the last old pod to go

    def _concerned(self, pod: Object) -> list[Object]:
        """The ReplicaSet that controls the pod, or those that may adopt it."""
        namespace, owner = key_of(pod)[0], controller_of(pod)
        if owner is None:
            sets = self._replica_sets.all(namespace)
            return [rs for rs in sets if selects(rs["spec"]["selector"], labels_of(pod))]
        replica_set = self._replica_sets.get((namespace, owner["name"])) if owner["kind"] == "ReplicaSet" else None
        return [replica_set] if replica_set is not None else []

    async def deployment(self, key: Key) -> float | None:
        deployment = self._deployments.get(key)
        if deployment is None or is_deleting(deployment):
            return None
        mine = self._replica_sets.controlled_by(deployment)
        unended = {uid_of(rs): sum(phase_of(pod) not in ENDED for pod in self._pods.controlled_by(rs)) for rs in mine}
        plan = plan_deployment(deployment, mine, unended, datetime.now(UTC))
        await self._perform(deployment, plan)
        return plan.requeue_after_s

    async def _perform(self, deployment: Object, plan: DeploymentPlan) -> None:
        if plan.create is not None:
            created = await self._client.create(REPLICA_SETS, plan.create)
            self._replica_sets.observe(created)
            await self._tell(deployment, Scale(created | {"spec": {"replicas": 0}}, created["spec"]["replicas"]))
        for scale in plan.scale:
            await self._replica_sets.patch(scale.replica_set, {"spec": {"replicas": scale.replicas}})
            await self._tell(deployment, scale)
        for rs in plan.delete:
            await self._client.delete(REPLICA_SETS, *key_of(rs), uid=uid_of(rs))
        revision = {"metadata": {"annotations": {REVISION: plan.revision}}}
        if plan.current is not None and annotations_of(plan.current).get(REVISION) != plan.revision:
            await self._replica_sets.patch(plan.current, revision)  # rolled back to it
        if annotations_of(deployment).get(REVISION) != plan.revision:
            deployment = await self._deployments.patch(deployment, revision)
        status = changed_status(deployment.get("status"), plan.status)
        if status is not None:
            await self._deployments.patch(deployment, {"status": status}, "status")

    async def _tell(self, deployment: Object, scale: Scale) -> None:
        await self._deployment_events.record(deployment, DEPLOYMENTS, "ScalingReplicaSet", scale.why)

    async def replica_set(self, key: Key) -> float | None:
        replica_set = self._replica_sets.get(key)
        if replica_set is None or is_deleting(replica_set):
            return None
        mine, orphans = self._pods.controlled_by(replica_set), self._pods.orphans(key[0])
        now = datetime.now(UTC)
        plan = plan_replica_set(replica_set, mine, now, orphans, self._related(replica_set))
        for pod in plan.adopt:
            await self._own(pod, [owned_by(replica_set)])
        for pod in plan.release:
            others = [o for o in pod["metadata"]["ownerReferences"] if o["uid"] != uid_of(replica_set)]
            await self._own(pod, others)
        template = pod_from_template(replica_set)
        made = (self._create(replica_set, template) for _ in range(plan.create))
        refusal = next(filter(None, await asyncio.gather(*made)), None)
        await asyncio.gather(*(self._delete(replica_set, pod) for pod in plan.delete))
        failure = failed_create(replica_set, refusal.message, now) if refusal else {}
        status = changed_status(replica_set.get("status"), plan.status | failure)
        if status is not None:
            await self._replica_sets.patch(replica_set, {"status": status}, "status")
        if refusal is not None:
            raise refusal  # and the loop tries again, later and later
        return plan.requeue_after_s

    def _related(self, replica_set: Object) -> list[Object]:
        """The pods of the other ReplicaSets of the same Deployment."""
        owner = controller_of(replica_set)
        deployment = self._deployments.get((key_of(replica_set)[0], owner["name"])) if owner else None
        sisters = self._replica_sets.controlled_by(deployment) if deployment else []
        return [pod for sister in sisters if sister is not replica_set for pod in self._pods.controlled_by(sister)]

    async def _own(self, pod: Object, references: list[Object]) -> None:
        await self._pods.patch(pod, {"metadata": {"uid": uid_of(pod), "ownerReferences": references}})

    async def _create(self, replica_set: Object, template: Object) -> ApiError | None:
        """Why the pod was refused; None when it was not."""
        tell = self._replica_set_events.record
        try:
            pod = await self._client.create(PODS, template)
        except ApiError as error:
            await tell(replica_set, REPLICA_SETS, "FailedCreate", f"Error creating: {error.message}", warning=True)
            return error
        self._pods.observe(pod)
        await tell(replica_set, REPLICA_SETS, "SuccessfulCreate", f"Created pod: {pod['metadata']['name']}")
        return None

    async def _delete(self, replica_set: Object, pod: Object) -> None:
        answer = await self._client.delete(PODS, *key_of(pod), uid=uid_of(pod))
        if "deletionTimestamp" in answer.get("metadata", {}):
            self._pods.observe(answer)
        else:
            self._pods.forget(pod)
        message = f"Deleted pod: {pod['metadata']['name']}"
        await self._replica_set_events.record(replica_set, REPLICA_SETS, "SuccessfulDelete", message)
