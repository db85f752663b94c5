"""The commands in the HTTP pages of the documentation, run as they stand there, against a real gateway.

What they print must have the fields, and where they do not change from run to run the values, that the page shows.
"""

import asyncio
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

DOCS: Final = Path(__file__).parents[2] / "docs"
PAGES: Final = ("reference/http-api.md", "how-to/webhooks.md")
ADDRESS: Final = "http://localhost:8080"
VARYING: Final = {"id", "created_at", "instance", "status"}
_PAIR: Final = re.compile(r'"(\w+)": ?("[^"…]*"|-?[0-9.]+|true|false|null)')
_HEADER: Final = re.compile(r"^(HTTP/1.1 \d+|[A-Za-z-]+:)", re.MULTILINE)


@dataclass(frozen=True)
class Shown:
    """A command and what the page says it prints."""

    command: str
    output: str


def shown(page: str) -> Iterator[Shown]:
    """The console blocks of a page, command by command."""
    for block in re.findall(r"```console\n(.*?)```", (DOCS / page).read_text(), re.DOTALL):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            command, _, output = re.sub(r"\\\n", "", part).partition("\n")
            yield Shown(command, output)


@pytest.fixture
def documented(own_gateway: Any) -> Any:
    """A gateway whose fleet is the one that the pages speak of, and a tenant that may have webhooks."""
    file = own_gateway.folder / "webhooks.json"
    file.write_text(json.dumps({"secrets": {"loner0": ["whsec_" + "A" * 44]}}))
    own_gateway.extra_arguments = ("--drain-delay=0", f"--webhooks-file={file}")
    own_gateway.start()
    return own_gateway


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
async def test_every_command_does_what_the_page_shows(documented: Any, work: Any, tmp_path: Path, page: str) -> None:
    variables = {"KEY": documented.keys["loner0"]}
    commands = list(shown(page))
    assert commands
    for each in commands:
        if each.command.startswith("cat "):
            (tmp_path / each.command.removeprefix("cat ")).write_text(each.output)
            continue
        if "/events" in each.command:
            await work(documented, variables["ID"])  # so that the stream ends
        printed = await run(each.command.replace(ADDRESS, documented.url), variables, tmp_path)
        compare(each, printed)
        if found := re.search(r'"id": ?"((video|batch)_\w+)"', printed):
            variables["ID" if found[2] == "video" else "BATCH"] = found[1]


async def run(command: str, variables: dict[str, str], folder: Path) -> str:
    """What it prints. Raises: AssertionError when it fails."""
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command, cwd=folder, env=os.environ | variables, stdout=-1, stderr=-1
    )
    out, err = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, (command, err.decode())
    return out.decode()


def compare(each: Shown, printed: str) -> None:
    """Raises: AssertionError where the page promises what is not there."""
    if "/events" in each.command:
        assert printed.startswith("retry: 1000\n\n")
        assert re.search(r"^event: done\nid: 1-succeeded-\ndata: \{", printed, re.MULTILINE)
        each = Shown(each.command, each.output[each.output.rindex("event: done") :])
    wanted, got = dict(_PAIR.findall(each.output)), dict(_PAIR.findall(printed))
    steady = {name: value for name, value in wanted.items() if name not in VARYING}
    assert steady == {name: got.get(name) for name in steady}, each.command
    assert set(re.findall(r'"(\w+)":', each.output)) <= set(re.findall(r'"(\w+)":', printed)), each.command
    assert set(_HEADER.findall(each.output)) <= set(_HEADER.findall(printed)), each.command


async def test_the_fields_of_a_video_are_all_shown(documented: Any) -> None:
    """The page's first example is what a developer reads first: nothing may be missing in it."""
    (first, *_) = shown(PAGES[0])
    body = {"prompt": "a red car at night"}
    async with documented.session("loner0") as http, http.post("/v1/videos", json=body) as response:
        told = await response.json()
    assert set(re.findall(r'"(\w+)":', first.output)) == set(told) | {"code", "message"}  # of an advice
