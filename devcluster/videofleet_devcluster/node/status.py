"""Pod status out of what its containers are doing, in the kubelet's words. Pure."""

from dataclasses import dataclass, field
from datetime import datetime

from videofleet_devcluster.objects import Object, status_of, timestamp, transitioned


@dataclass
class ContainerStatus:
    """What is known of one container; its runner writes it, the pod's status reads it."""

    name: str
    image: str
    state: Object = field(default_factory=lambda: waiting("ContainerCreating"))
    last_state: Object = field(default_factory=dict)
    restart_count: int = 0
    ready: bool = False
    started: bool = False
    container_id: str = ""

    def as_json(self) -> Object:
        return {
            "name": self.name,
            "image": self.image,
            "imageID": self.image,
            "containerID": self.container_id,
            "state": self.state,
            "lastState": self.last_state,
            "restartCount": self.restart_count,
            "ready": self.ready,
            "started": self.started,
        }

    @property
    def exit_code(self) -> int | None:
        code = self.state.get("terminated", {}).get("exitCode")
        return None if code is None else int(code)


def waiting(reason: str, message: str = "") -> Object:
    return {"waiting": {"reason": reason} | ({"message": message} if message else {})}


def running(since: datetime) -> Object:
    return {"running": {"startedAt": timestamp(since)}}


def terminated(code: int, reason: str, message: str, since: datetime, now: datetime, identity: str) -> Object:
    """A container that has ended; the reason is Completed or Error unless one is given."""
    ended: Object = {"exitCode": code, "reason": reason or ("Completed" if code == 0 else "Error")}
    ended |= {"signal": code - 128} if code > 128 and not reason else {}
    ended |= {"message": message} if message else {}
    times = {"startedAt": timestamp(since), "finishedAt": timestamp(now), "containerID": identity}
    return {"terminated": ended | times}


def restarts(policy: str, code: int) -> bool:
    """Whether a container that ended with this code is started again."""
    return policy == "Always" or (policy == "OnFailure" and code != 0)


def back_off_s(failures: int, first_s: float) -> float:
    """Seconds to wait before the next start, after `failures` ends in a row.

    The first restart is immediate; then 10 s doubling to 300 s, with the kubelet's first_s of 10.
    """
    return 0.0 if failures <= 1 else min(first_s * 2.0 ** (failures - 2), 30 * first_s)


def go_duration(seconds: float) -> str:
    """Seconds as Go prints them: `10s`, `1m20s`, `5m0s`; fractions only below ten seconds."""
    if seconds < 10 and seconds != int(seconds):
        return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:g}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"


def pod_status(
    pod: Object, address: str, inits: list[ContainerStatus], containers: list[ContainerStatus], since: datetime,
    now: datetime,
) -> Object:  # fmt: skip
    """The status to publish; conditions keep their transition times from the pod's present status."""
    present = status_of(pod)
    old = {condition["type"]: condition for condition in present.get("conditions") or []}
    phase = _phase(pod["spec"].get("restartPolicy", "Always"), inits, containers)
    fresh = {c["type"]: transitioned(old.get(c["type"]), c, now) for c in _conditions(phase, inits, containers)}
    status = {
        "phase": phase,
        "conditions": [condition for kind, condition in old.items() if kind not in fresh] + list(fresh.values()),
        "hostIP": "127.0.0.1",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": timestamp(since),
        "qosClass": present.get("qosClass", "BestEffort"),
        "containerStatuses": [container.as_json() for container in containers],
    }
    return status | ({"initContainerStatuses": [init.as_json() for init in inits]} if inits else {})


def _phase(policy: str, inits: list[ContainerStatus], containers: list[ContainerStatus]) -> str:
    codes = [container.exit_code for container in containers]
    if any(init.exit_code not in (None, 0) and not restarts(policy, init.exit_code or 0) for init in inits):
        return "Failed"
    ended = [code for code in codes if code is not None and not restarts(policy, code)]
    if len(ended) == len(containers):
        return "Failed" if any(ended) else "Succeeded"
    never_ran = any("waiting" in c.state and not c.last_state for c in containers)
    return "Pending" if never_ran else "Running"


def _conditions(phase: str, inits: list[ContainerStatus], containers: list[ContainerStatus]) -> list[Object]:
    uninitialized = " ".join(init.name for init in inits if init.exit_code != 0)
    unready = " ".join(container.name for container in containers if not container.ready)
    message = f"containers with incomplete status: [{uninitialized}]"
    initialized = _condition("Initialized", not uninitialized, "ContainersNotInitialized", message)
    if phase == "Succeeded":
        ready = False, "PodCompleted", ""
    else:
        reason = "PodFailed" if phase == "Failed" else "ContainersNotReady"
        ready = not unready, reason, f"containers with unready status: [{unready}]"
    scheduled = {"type": "PodScheduled", "status": "True"}  # else it would not be here
    return [scheduled, initialized, _condition("Ready", *ready), _condition("ContainersReady", *ready)]


def _condition(kind: str, holds: bool, reason: str, message: str) -> Object:
    if holds:
        return {"type": kind, "status": "True"}
    return {"type": kind, "status": "False", "reason": reason} | ({"message": message} if message else {})
