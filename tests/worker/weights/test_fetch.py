"""Weights come whole, safe and once; a killed fetch goes on; whatever cannot be fetched says why and what to do."""

import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from videofleet.beacons import WorkerFault
from videofleet_worker import manifest

WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"


def files_of(folder: Path) -> dict[str, bytes]:
    return {f.relative_to(folder).as_posix(): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def flip(file: Path) -> None:
    """A bit of a file that is not to be written, as a bad disk does it."""
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.chmod(0o644)
    file.write_bytes(content)


def test_a_model_comes_from_the_hub_whole_safe_and_sealed(fetch: Any, upstream: Path) -> None:
    fetch()
    fetched = files_of(fetch.model)
    assert manifest.NAME in fetched
    for name in set(fetched) - {manifest.NAME}:
        assert fetched[name] == (upstream / name).read_bytes()
    assert not {"README.md", "run.py", "transformer/pytorch_model.bin"} & set(fetched)
    assert manifest.damaged_files(fetch.model, lambda *_: None) == []
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in fetch.model.rglob("*")), "others may read it"


def test_what_is_there_is_not_fetched_again_and_needs_no_hub(fetch: Any, hub: Any) -> None:
    fetch()
    before = hub.read.total()
    fetch(HF_HUB_OFFLINE="1")
    assert hub.read.total() == before


def test_a_killed_fetch_goes_on_where_it_was(fetch: Any, hub: Any) -> None:
    hub.delay_s = 0.25
    process = fetch.start()
    journal = fetch.root / ".partial" / "tiny" / ".parts"
    fetched: set[str] = set()
    while len(fetched) < 5:
        assert process.poll() is None
        with contextlib.suppress(OSError):
            fetched = {line.split(" ", 1)[1] for line in journal.read_text().splitlines()[1:]}
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not fetch.model.exists(), "nothing is published half"
    hub.read.clear()
    fetch()
    assert not fetched & (set(hub.read) - {"model_index.json"}), "these were there"
    assert manifest.damaged_files(fetch.model, lambda *_: None) == []


def test_a_hub_that_stumbles_is_asked_again(fetch: Any, hub: Any) -> None:
    hub.failures = 3
    fetch()
    assert fetch.model.is_dir()


def test_a_flipped_byte_is_found_and_only_that_file_fetched_again(fetch: Any, hub: Any, upstream: Path) -> None:
    fetch()
    flip(fetch.model / WEIGHTS)
    hub.read.clear()
    log = fetch()
    assert any(line.get("files") == [WEIGHTS] for line in log)
    assert set(hub.read) == {WEIGHTS, "model_index.json"}
    assert (fetch.model / WEIGHTS).read_bytes() == (upstream / WEIGHTS).read_bytes()


def test_a_file_that_comes_damaged_again_and_again_is_refused(fetch: Any, hub: Any) -> None:
    hub.damaged = {WEIGHTS}
    message = fetch.refused()
    assert message["reason"] == WorkerFault.MODEL_CORRUPT
    assert WEIGHTS in message["message"]
    assert not fetch.model.exists()
    hub.damaged = set()
    fetch()
    assert fetch.model.is_dir()


def test_a_small_file_is_compared_with_its_git_blob(fetch: Any, hub: Any) -> None:
    hub.damaged = {"vae/config.json"}
    assert "vae/config.json" in fetch.refused()["message"]


def test_weights_that_exist_as_pickles_only_are_refused_before_they_are_fetched(
    fetch: Any, hub: Any, upstream: Path
) -> None:
    (upstream / WEIGHTS).unlink()
    message = fetch.refused()
    assert message["reason"] == WorkerFault.MODEL_UNSAFE
    assert "pytorch_model.bin" in message["message"]
    assert set(hub.read) == {"model_index.json"}


def test_a_gated_model_needs_its_token(fetch: Any, hub: Any, tmp_path: Path) -> None:
    hub.token = "hf_secret"
    message = fetch.refused()
    assert message["reason"] == WorkerFault.MODEL_NOT_FOUND
    assert "gated" in message["message"]
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "token").write_text("hf_secret\n")
    log = fetch(f"--secret={tmp_path / 'secret'}")
    assert "hf_secret" not in str(log)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--source=hf://studio/tiny", f"--revision={'1' * 40}"], "no commit 1111"),
        (["--source=hf://a/b"], "knows no a/b"),
    ],
)
def test_a_source_that_is_not_there(fetch: Any, arguments: list[str], words: str) -> None:
    message = fetch.refused(*arguments)
    assert message["reason"] == WorkerFault.MODEL_NOT_FOUND
    assert words in message["message"]


def test_offline_with_an_empty_cache_says_how_to_fill_it(fetch: Any) -> None:
    message = fetch.refused(HF_HUB_OFFLINE="1")
    assert message["reason"] == WorkerFault.STORE_UNREACHABLE
    assert "fill the cache" in message["message"]


def test_another_architecture_is_not_published(fetch: Any, upstream: Path) -> None:
    index = upstream / "model_index.json"
    index.write_text(index.read_text().replace("WanPipeline", "WanVACEPipeline"))
    assert fetch.refused()["reason"] == WorkerFault.MODEL_MISMATCH
    assert not fetch.model.exists()
