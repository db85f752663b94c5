"""API keys: who is let in, and how the file changes under a running gateway."""

import hashlib
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from videofleet_gateway.auth import KeyExpired, Keyring, KeysFileError

KEY = "vf_a1_0123456789abcdef0123456789abcdef"


def entry(key: str = KEY, tenant: str = "studio") -> dict[str, str]:
    return {"id": key.split("_")[1], "sha256": hashlib.sha256(key.encode()).hexdigest(), "tenant": tenant}


def write(path: Path, *entries: dict[str, str]) -> Path:
    fresh = path.with_suffix(".new")
    fresh.write_text(json.dumps({"keys": entries}))
    fresh.replace(path)
    return path


@pytest.mark.parametrize(
    ("header", "tenant"),
    [
        (f"Bearer {KEY}", "studio"),
        (f"bearer  {KEY} ", "studio"),
        (None, None),
        ("", None),
        (KEY, None),
        (f"Basic {KEY}", None),
        (f"Bearer {KEY}x", None),
        (f"Bearer {KEY[:-1]}", None),
        ("Bearer vf_a1_", None),
        (f"Bearer {KEY.replace('a1', 'a2')}", None),
        ("Bearer vf_a1_\x00", None),
        ("Bearer " + "v" * 8000, None),
    ],
)
def test_only_a_whole_known_key_opens(tmp_path: Path, header: str | None, tenant: str | None) -> None:
    caller = Keyring(write(tmp_path / "keys.json", entry())).caller(header)
    assert (caller.tenant if caller else None) == tenant


def in_s(seconds: float) -> dict[str, str]:
    return {"expires": (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()}


def test_a_key_ends_at_its_time_and_the_other_one_goes_on(tmp_path: Path) -> None:
    second = KEY.replace("a1", "b2")
    keyring = Keyring(write(tmp_path / "keys.json", entry() | in_s(1), entry(second)))
    caller = keyring.caller(f"Bearer {KEY}")
    assert caller
    assert caller.key_expires
    deadline = time.monotonic() + 60
    while keyring.caller_of("a1"):  # what the key has signed
        assert time.monotonic() < deadline
    with pytest.raises(KeyExpired, match=r"expired at .* UTC; use the tenant's newer one"):
        keyring.caller(f"Bearer {KEY}")
    assert keyring.caller(f"Bearer {KEY[:-1]}x") is None, "nobody else learns that there was such a key"
    assert keyring.caller(f"Bearer {second}")


def test_the_end_of_a_key_is_moved_without_a_restart(tmp_path: Path) -> None:
    path = write(tmp_path / "keys.json", entry() | in_s(-1))
    keyring = Keyring(path)
    with pytest.raises(KeyExpired):
        keyring.caller(f"Bearer {KEY}")
    write(path, entry() | in_s(3600))
    assert keyring.caller(f"Bearer {KEY}")
    write(path, entry() | {"expires": "2020-01-01T00:00:00+09:00"})
    with pytest.raises(KeyExpired, match="2019-12-31 15:00:00 UTC"):
        keyring.caller(f"Bearer {KEY}")


def test_keys_come_and_go_without_a_restart(tmp_path: Path) -> None:
    path = write(tmp_path / "keys.json", entry())
    keyring = Keyring(path)
    second = KEY.replace("a1", "b2")
    write(path, entry(), entry(second))
    assert keyring.caller(f"Bearer {KEY}")
    assert keyring.caller(f"Bearer {second}")
    write(path, entry(second))
    assert keyring.caller(f"Bearer {KEY}") is None


def test_a_broken_new_file_locks_nobody_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "keys.json", entry())
    keyring = Keyring(path)
    path.write_text('{"keys": [' + KEY)
    assert keyring.caller(f"Bearer {KEY}")
    path.unlink()
    assert keyring.caller(f"Bearer {KEY}")
    assert len(caplog.records) == 2
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "keys.json"),
        ('{"keys": [{"id": "a1", "sha256": "zz", "tenant": "t"}]}', "keys.0.sha256"),
        (json.dumps({"keys": [entry(), entry()]}), "twice"),
        (json.dumps({"keys": [entry(tenant="Not A Tenant")]}), "keys.0.tenant"),
        (json.dumps({"keys": [entry() | {"secret": KEY}]}), "keys.0.secret"),
        (json.dumps({"keys": [entry() | {"expires": "2027-01-31T00:00:00"}]}), "keys.0.expires: .*timezone"),
        (json.dumps({"keys": [entry() | {"expires": 1801353600}]}), "keys.0.expires"),
    ],
)
def test_a_broken_file_at_start_says_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "keys.json"
    path.write_text(text)
    with pytest.raises(KeysFileError, match=says) as caught:
        Keyring(path)
    assert KEY not in str(caught.value)


def test_a_missing_file_at_start_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeysFileError, match="mount the Secret"):
        Keyring(tmp_path / "keys.json")
