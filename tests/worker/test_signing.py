"""A worker that signs leaves a provenance that the public key proves; a key that is none stops it at once."""

from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from videofleet.beacons import WorkerFault
from videofleet.provenance import verified


async def test_a_video_carries_its_provenance(fleet: Any, tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    (tmp_path / "ed25519.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    async with fleet.worker(signing_key=tmp_path / "ed25519.pem"):
        job = await fleet.ended(await fleet.submit(seed=7))
    sidecar = (fleet.store / job.result.provenance_key).read_bytes()
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    said = verified(sidecar, fleet.store / job.result.video_key, public)
    assert (said.job, said.seed, said.tier, said.revision) == (job.id, 7, fleet.preview, job.result.revision)
    assert fleet.prompt not in sidecar.decode()
    assert (fleet.store / job.result.spritesheet_key).stat().st_size > 100


async def test_a_key_that_is_none_is_a_fault(fleet: Any, tmp_path: Path) -> None:
    (tmp_path / "ed25519.pem").write_text("hello")
    async with fleet.worker(signing_key=tmp_path / "ed25519.pem") as worker:
        assert worker.engine.pids == []
    assert fleet.termination["reason"] == WorkerFault.SIGNING_KEY_INVALID
    assert "openssl genpkey" in fleet.termination["message"]
