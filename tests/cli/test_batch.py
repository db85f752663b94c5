"""`videofleet batch` against a real gateway: a file goes in, bad lines are told, results come out."""

import json
from pathlib import Path
from typing import Any


async def test_a_file_in_and_its_results_out(gateway: Any, start: Any, tmp_path: Path) -> None:
    good = json.dumps({"custom_id": "panda", "body": {"prompt": "a red panda runs", "tier": "preview"}})
    (tmp_path / "prompts.jsonl").write_text(f"{good}\nnonsense\n")
    submitted = await (await start("batch", "submit", "prompts.jsonl", **gateway.environment)).done()
    assert (submitted.code, "line 2" in submitted.err) == (0, True)
    batch = submitted.out.strip()
    again = await (await start("batch", "submit", "prompts.jsonl", "--json", **gateway.environment)).done()
    assert json.loads(again.out)["id"] == batch, "the same file is the same batch"
    await gateway.make(await gateway.waiting_job())
    status = await (await start("batch", "status", batch, **gateway.environment)).done()
    assert (status.code, status.out) == (0, "completed: 1 completed, 1 failed of 2\n")
    written = await (await start("batch", "results", batch, "-o", "results.jsonl", **gateway.environment)).done()
    assert written.code == 0
    first, second = map(json.loads, (tmp_path / "results.jsonl").read_text().splitlines())
    assert (first["custom_id"], first["status"]) == ("panda", "completed")
    assert (second["line"], second["error"]["code"]) == (2, "malformed_body")
    shown = await (await start("batch", "results", batch, **gateway.environment)).done()
    assert shown.out == (tmp_path / "results.jsonl").read_text()


async def test_what_is_not_there_is_refused_in_plain_words(gateway: Any, start: Any) -> None:
    missing = await (await start("batch", "submit", "nowhere.jsonl", **gateway.environment)).done()
    assert (missing.code, "nowhere.jsonl" in missing.err) == (2, True)
    unknown = await (await start("batch", "status", "batch_x", **gateway.environment)).done()
    assert (unknown.code, "no such batch" in unknown.err) == (2, True)
