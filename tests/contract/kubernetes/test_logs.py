"""What a container printed, as `kubectl logs` reads it from our node."""

SLOW_WORDS = """
import time
print("early", flush=True)
time.sleep(1.5)
print("late", flush=True)
time.sleep(600)
"""


async def test_logs_of_this_run_and_of_the_one_before(when, run, then):
    code = "import os, sys, pathlib, time; once = pathlib.Path(sys.argv[1], 'once'); again = once.exists(); once.touch(); " \
           "print('one'); print('again' if again else 'first', flush=True); again and time.sleep(600)"  # fmt: skip  # noqa: E501
    spec = {"volumes": [{"name": "w", "emptyDir": {}}], "restartPolicy": "Always"}
    mounts = [{"name": "w", "mountPath": "/work"}]
    await run("p", "python3", "-c", code, args=["/work"], spec=spec, volumeMounts=mounts)

    async def log(**query):
        return (await when.reads("pods/p/log", **query)).body

    async def again():
        return await log(tailLines=1) == "again\n"

    await then.eventually(again)
    assert await log() == "one\nagain\n"
    assert await log(previous="true", container="main") == "one\nfirst\n"
    stamped = (await log(timestamps="true", tailLines=1)).split(" ")
    assert (stamped[0].endswith("Z"), stamped[1]) == (True, "again\n")
    wrong = await when.reads("pods/p/log", container="x")
    assert wrong.refusal == (400, "BadRequest", "container x is not valid for pod p")


async def test_logs_are_followed(when, run, then):
    code = "import time\nfor i in range(3): print(i, flush=True); time.sleep(0.3)"
    await run("p", "python3", "-c", code)
    await then.eventually_is("pods/p", lambda pod: pod.state["phase"] in ("Running", "Succeeded"))
    assert (await when.reads("pods/p/log", follow="true")).body == "0\n1\n2\n"


async def test_logs_know_when_each_line_was_written(when, run, then):
    await run("p", "python3", "-c", SLOW_WORDS)

    async def both():
        lines = str((await when.reads("pods/p/log", timestamps="true")).body).splitlines()
        return lines if len(lines) == 2 else None

    early, late = [line.split(" ") for line in await then.eventually(both)]
    assert [early[1], late[1]] == ["early", "late"]
    assert early[0] < late[0]
    since = late[0].split(".")[0].removesuffix("Z") + "Z"
    assert (await when.reads("pods/p/log", sinceTime=since)).body == "late\n"
    assert (await when.reads("pods/p/log", sinceSeconds=3600, limitBytes=4)).body == "earl"
    assert (await when.reads("pods/p/log", sinceSeconds="an hour")).refusal[:2] == (400, "BadRequest")
