"""`videofleet verify`: yes with the facts, no with the reason and exit code 1, and what is missing by name."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from typer.testing import CliRunner

from videofleet.provenance import Provenance, sha256_of, signed
from videofleet.tiers import Tier
from videofleet_cli.exits import CommandError, Exit
from videofleet_cli.main import app

TIER = Tier(name="preview", width=64, height=64, num_frames=9, num_inference_steps=4, fps=16)


@pytest.fixture
def files(tmp_path: Path) -> tuple[str, str]:
    """A video with its sidecar beside it, and the public key."""
    key = Ed25519PrivateKey.generate()
    video, public = tmp_path / "fox.mp4", tmp_path / "public.pem"
    video.write_bytes(b"a fox")
    said = Provenance(
        job="video_1", attempt=1, model="wan", revision="r1", tier=TIER, seed=7, video_sha256=sha256_of(video)
    )
    (tmp_path / "fox.provenance.json").write_text(signed(said, key))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return str(video), f"--key={public}"


def test_an_authentic_video_tells_where_it_came_from(files: tuple[str, str]) -> None:
    done = CliRunner().invoke(app, ["verify", *files])
    assert done.exit_code == 0
    text = " ".join(done.output.split())
    assert "is authentic: job video_1, model wan, revision r1, tier preview (64x64, 9 frames, 4 steps), seed 7" in text


def test_a_changed_video_is_exit_code_1(files: tuple[str, str]) -> None:
    Path(files[0]).write_bytes(b"a dog")
    done = CliRunner().invoke(app, ["verify", *files])
    assert isinstance(done.exception, CommandError)
    assert done.exception.exit_code == Exit.FAILED
    assert "NOT authentic" in str(done.exception)


@pytest.mark.parametrize(("missing", "words"), [("fox.provenance.json", "provenance"), ("public.pem", "public.pem")])
def test_what_is_missing_is_named(files: tuple[str, str], missing: str, words: str) -> None:
    (Path(files[0]).parent / missing).unlink()
    done = CliRunner().invoke(app, ["verify", *files])
    assert isinstance(done.exception, CommandError)
    assert (done.exception.exit_code, words in str(done.exception)) == (Exit.REFUSED, True)
