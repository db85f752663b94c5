"""The demo itself: cluster → chart → fleet → prompt → video. Each step goes through what users use, none around it."""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from videofleet_cli import waiting
from videofleet_cli.demo import installing
from videofleet_cli.demo.access import Access
from videofleet_cli.demo.applying import apply, service_url
from videofleet_cli.demo.project import Project
from videofleet_cli.demo.steps import Steps
from videofleet_cli.demo.watching import deployments_available, fleet_ready
from videofleet_cli.gateway import Address, Gateway
from videofleet_cli.kube import connected

PROMPT: Final = "a red panda riding a skateboard through neon rain"
_AVAILABLE_S: Final = 60.0
_READY_S: Final = 180.0
_JOB_S: Final = 120.0


@dataclass(frozen=True)
class Made:
    """What the demo leaves on disk, and where the gateway listens."""

    video: Path
    thumbnail: Path
    gateway: str


async def first_video(project: Project, kubeconfig: Path, redis_url: str, output: Path, steps: Steps) -> Made:
    """From a running cluster to files below `output`. Raises: CommandError that names the step."""
    access, namespace = Access(output), installing.NAMESPACE
    async with connected(kubeconfig) as cluster:
        with steps.step("Installing charts/videofleet with Helm") as say:
            key = access.make_key()
            await asyncio.to_thread(installing.install, project.chart, kubeconfig, redis_url, key)
            names = [installing.OPERATOR, installing.GATEWAY]
            await deployments_available(cluster, namespace, names, say, _AVAILABLE_S)
        with steps.step(f"Applying {project.example.relative_to(project.root)}") as say:
            fleet = await apply(cluster, namespace, await asyncio.to_thread(project.example.read_text))
            say(f"VideoGenerator {namespace}/{fleet}")
        with steps.step("Warming the fleet") as say:
            await fleet_ready(cluster, namespace, fleet, say, _READY_S)
        url = await service_url(cluster, namespace, installing.GATEWAY)
    access.write_env(url, kubeconfig)
    return await _video(Address(url, access.key_file), f"{namespace}/{fleet}", output, steps)


async def _video(address: Address, model: str, output: Path, steps: Steps) -> Made:
    async with Gateway.open(address) as gateway:
        with steps.bar(f"Making “{PROMPT}”") as report:
            video = await gateway.create({"model": model, "prompt": PROMPT})
            video = await waiting.finished(gateway, video, report, _JOB_S)
        made = Made(output / f"{video['id']}.mp4", output / f"{video['id']}.jpg", address.url)
        with steps.step("Saving the video"):
            await gateway.download(video["id"], made.video)
            await gateway.download(video["id"], made.thumbnail, "thumbnail")
    return made
