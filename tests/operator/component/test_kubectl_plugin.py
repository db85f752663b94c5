"""`kubectl videofleet rollout …` with the real kubectl: every verb, against the operator as a process."""

import asyncio
import copy
import json
import os
import shutil
import sysconfig
from pathlib import Path

import pytest

SCRIPTS = Path(sysconfig.get_path("scripts"))
VERBS = ("status", "history", "report", "promote", "abort", "pause", "resume", "retry", "undo")

pytestmark = pytest.mark.skipif(
    shutil.which("kubectl") is None or not (SCRIPTS / "kubectl-videofleet").exists(),
    reason="kubectl or the installed plugin is not there",
)


@pytest.fixture
def kubectl(world):
    """Exit code and output of `kubectl videofleet rollout …`."""

    async def run(*arguments):
        environment = os.environ | {
            "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
            "KUBECONFIG": str(world.operator.folder.parent / "admin"),
            "COLUMNS": "200",
            "NO_COLOR": "1",
        }
        process = await asyncio.create_subprocess_exec(
            *("kubectl", "videofleet", "rollout", *arguments),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=environment,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        return process.returncode, out.decode()

    return run


async def test_every_verb_works_as_a_plugin(world, wait_until, kubectl):
    world.operator.start()
    await world.apply()
    spec = copy.deepcopy((await world.get())["spec"]) | {"rollout": {"steps": [{"weight": "5%"}, {"weight": "50%"}]}}
    await world.apply(spec)
    await wait_until(world.is_settled, 60)
    await world.apply(spec | {"model": spec["model"] | {"source": "pvc://models/new"}})

    async def is_in(phase):
        return (await world.get())["status"].get("rollout", {}).get("phase") == phase

    await wait_until(lambda: is_in("Stepping"), 60)
    rollout = (await world.get())["status"]["rollout"]
    fleet = ("tiny", "-n", world.namespace)
    code, said = await kubectl("status", *fleet)
    assert (code, f"{rollout['canaryRevision']}, 5% of the jobs" in said) == (0, True), said
    for verb, phase in (("pause", "Paused"), ("resume", "Stepping"), ("abort", "Rejected"), ("retry", "Stepping")):
        code, said = await kubectl(verb, *fleet)
        assert (code, said.split(":")[0]) == (0, "Done"), said
        await wait_until(lambda phase=phase: is_in(phase), 60)
    code, said = await kubectl("report", *fleet, "--json")
    assert code == 0, said
    assert json.loads(said)["tracks"]["canary"]["revision"] == rollout["canaryRevision"]
    code, said = await kubectl("promote", *fleet)
    assert code == 0, said
    await wait_until(world.is_settled, 60)
    code, said = await kubectl("history", *fleet)
    assert code == 0
    assert rollout["stableRevision"] in said
    code, said = await kubectl("undo", *fleet, rollout["stableRevision"])
    assert code == 0, said
    await wait_until(lambda: is_in("Undone"), 60)


async def test_help_names_the_plugin_and_every_verb(kubectl):
    code, said = await kubectl("--help")
    assert code == 0
    assert "kubectl videofleet rollout" in said
    assert all(verb in said for verb in VERBS)
