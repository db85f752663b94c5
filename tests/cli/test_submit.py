"""`videofleet submit`, `wait` and `jobs` against a real gateway: what is printed, what is saved, how they exit."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

# conftest's classes cannot be imported in importlib mode; their shape is told where they are made.
Gateway = Any
Start = Any
VIDEO_BYTES = b"not really an MP4" * 100_000


async def test_submit_saves_the_video(gateway: Gateway, start: Start, tmp_path: Path) -> None:
    command = await start("submit", "a red panda", "-o", "panda.mp4", "--tier", "preview", **gateway.environment)
    job = await gateway.waiting_job()
    assert job.request.tier.name == "preview"
    line = (await command.process.stderr.readline()).decode()
    while "number 1" not in line:  # told by the event stream, as its place in the queue
        assert "queued" in line
        line = (await command.process.stderr.readline()).decode()
    await gateway.make(job)
    done = await command.done()
    assert (done.code, done.out) == (0, "panda.mp4\n")
    assert (tmp_path / "panda.mp4").read_bytes() == VIDEO_BYTES
    assert "completed (100 %)" in done.err
    assert not (tmp_path / "panda.mp4.part").exists()


async def test_submit_json_is_one_document(gateway: Gateway, start: Start) -> None:
    command = await start("submit", "a panda", "-o", "p.mp4", "--seed", "7", "--json", **gateway.environment)
    job = await gateway.waiting_job()
    await gateway.make(job)
    video = json.loads((await command.done()).out)
    assert (video["id"], video["status"], video["seed"], video["file"]) == (job.id, "completed", 7, "p.mp4")


async def test_interrupted_then_resumed(gateway: Gateway, start: Start, tmp_path: Path) -> None:
    command = await start("submit", "a panda", "-o", "p.mp4", **gateway.environment)
    job = await gateway.waiting_job()
    # The queue has the job a moment before the command knows; its first line says that it does.
    line = await command.process.stderr.readline()
    assert job.id in line.decode()
    command.interrupt()
    done = await command.done()
    assert done.code == 130
    assert f"videofleet wait {job.id} -o p.mp4" in done.err
    assert "Traceback" not in done.err
    await gateway.make(job)
    resumed = await (await start("wait", job.id, "-o", "p.mp4", **gateway.environment)).done()
    assert resumed.code == 0
    assert (tmp_path / "p.mp4").read_bytes() == VIDEO_BYTES


async def test_a_failed_job_is_exit_1_with_its_reason(gateway: Gateway, start: Start, tmp_path: Path) -> None:
    command = await start("submit", "a panda", "-o", "p.mp4", **gateway.environment)
    await gateway.waiting_job()
    await gateway.spoil()
    done = await command.done()
    assert done.code == 1
    assert "NaN in the latents (not_finite)" in done.err
    assert not (tmp_path / "p.mp4").exists()


async def test_timeout_leaves_the_job_alone(gateway: Gateway, start: Start) -> None:
    command = await start("submit", "a panda", "-o", "p.mp4", "--timeout", "1", **gateway.environment)
    job = await gateway.waiting_job()
    done = await command.done()
    assert done.code == 5
    assert f"{job.id} is not done after 1 s; it goes on" in done.err
    assert (await gateway.queue.get(job.id)).cancel_requested is False


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["submit", "hi", "-o", "p.mp4", "--size", "9x9"], 2, "128x128"),
        (["submit", "", "-o", "p.mp4"], 2, "prompt"),
        (["submit", "hi", "-o", "p.mp4", "--model", "no/such"], 2, "no/such"),
        (["submit", "hi", "-o", "nowhere/p.mp4"], 2, "does not exist; make it first"),
        (["submit", "hi"], 2, "--output"),
        (["wait", "video_nonsense", "-o", "p.mp4"], 2, ""),
        (["submit", "hi", "-o", "p.mp4", "--gateway", "not a url"], 2, "--gateway"),
        (["jobs", "--api-key-file", "none"], 2, "API key file none"),
        (["jobs", "--api-key-file", "wrong"], 4, "a valid API key is needed"),
        (["jobs", "--gateway", "http://127.0.0.1:9"], 3, "does not answer"),
    ],
)
async def test_refusals(
    gateway: Gateway, start: Start, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "wrong").write_text("vf_me_wrong\n")
    done = await (await start(*arguments, **gateway.environment)).done()
    assert (done.code, done.out) == (code, "")
    assert words in done.err
    assert "Traceback" not in done.err


async def test_no_key_is_exit_4(start: Start) -> None:
    done = await (await start("jobs")).done()
    assert done.code == 4
    assert "VIDEOFLEET_API_KEY_FILE" in done.err


async def test_jobs_empty_then_listed(gateway: Gateway, start: Start) -> None:
    empty = await (await start("jobs", **gateway.environment)).done()
    assert "No jobs yet" in empty.out
    submitting = await start("submit", "a secret wish", "-o", "p.mp4", **gateway.environment)
    job = await gateway.waiting_job()
    await gateway.make(job)
    await submitting.done()
    table = (await (await start("jobs", **gateway.environment)).done()).out
    assert job.id in table
    assert "studio/tiny" in table
    assert "secret wish" not in table
    listed = json.loads((await (await start("jobs", "--json", **gateway.environment)).done()).out)
    assert [video["id"] for video in listed] == [job.id]


async def test_help_names_the_program_and_its_exit_codes(start: Start) -> None:
    done = await (await start("--help")).done()
    assert done.code == 0
    assert "130 Ctrl-C" in " ".join(done.out.split())


async def test_kubectl_plugin_has_its_own_name(tmp_path: Path) -> None:
    code = "import sys; sys.argv = ['/bin/kubectl-videofleet', '--help']; from videofleet_cli.main import main; main()"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    assert "Usage: kubectl videofleet" in out.decode()


async def test_dead_jobs_are_listed_replayed_and_purged(gateway: Gateway, start: Start) -> None:
    command = await start("submit", "a panda", "-o", "p.mp4", "--priority", "batch", **gateway.environment)
    job = await gateway.waiting_job()
    assert job.priority == "batch"
    for _ in range(2):
        while (await gateway.queue.get(job.id)).state != "dead":
            await gateway.lose_worker()
        listed = await (await start("jobs", "dead", "--json", **gateway.environment)).done()
        assert [(video["id"], video["error"]["code"]) for video in json.loads(listed.out)] == [
            (job.id, "attempts_exhausted")
        ]
        replayed = await (await start("jobs", "replay", job.id, **gateway.environment)).done()
        assert (replayed.code, f"videofleet wait {job.id}" in replayed.out) == (0, True)
        refused = await (await start("jobs", "purge", job.id, **gateway.environment)).done()
        assert (refused.code, "is not dead" in refused.err) == (2, True)
    while (await gateway.queue.get(job.id)).state != "dead":
        await gateway.lose_worker()
    assert (await (await start("jobs", "purge", job.id, **gateway.environment)).done()).code == 0
    assert "No jobs yet" in (await (await start("jobs", **gateway.environment)).done()).out
    assert "No job is dead" in (await (await start("jobs", "dead", **gateway.environment)).done()).out
    await command.done()


async def test_erase_takes_jobs_or_a_tenant(gateway: Gateway, start: Start) -> None:
    waits = await start("submit", "a panda", "-o", "p.mp4", **gateway.environment)
    job = await gateway.waiting_job()
    done = await (await start("erase", job.id, **gateway.environment)).done()
    assert (done.code, done.out.replace("\n", "")) == (0, f"Erased {job.id}.")
    assert (await waits.done()).code != 0
    assert (await (await start("erase", **gateway.environment)).done()).code == 2
    assert (await (await start("erase", "--tenant", "nobody", **gateway.environment)).done()).code == 4
    await start("submit", "a panda", "-o", "p.mp4", **gateway.environment)
    await gateway.waiting_job()
    done = await (await start("erase", "--tenant", "studio", **gateway.environment)).done()
    assert (done.code, done.out) == (0, "Erased 1 videos of studio.\n")


async def test_intake_is_paused_by_admins_only(gateway: Gateway, start: Start) -> None:
    refused = await (await start("intake", "pause", "studio/tiny", **gateway.environment)).done()
    assert refused.code == 4
    assert "admin" in refused.err
    keys = json.loads((gateway.folder / "keys.json").read_text())
    keys["keys"][0]["role"] = "admin"
    (gateway.folder / "keys.json").write_text(json.dumps(keys))
    assert (await (await start("intake", "pause", "studio/tiny", **gateway.environment)).done()).code == 0
    assert (await (await start("intake", "resume", "studio/tiny", **gateway.environment)).done()).code == 0
    assert (await (await start("intake", "pause", "studio/none", **gateway.environment)).done()).code == 2
