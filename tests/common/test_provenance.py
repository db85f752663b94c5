"""A signed provenance holds for its video and its words, and for nothing else."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from videofleet.provenance import KeyUnusable, NotAuthentic, Provenance, private_key, sha256_of, signed, verified
from videofleet.tiers import Tier

TIER = Tier(name="preview", width=64, height=64, num_frames=9, num_inference_steps=4, fps=16)
KEY = Ed25519PrivateKey.generate()
PUBLIC = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"a video")
    return path


def said(video: Path) -> Provenance:
    return Provenance(
        job="video_1", attempt=1, model="wan", revision="r1", tier=TIER, seed=7, video_sha256=sha256_of(video)
    )


def test_what_was_signed_is_read_back(video: Path) -> None:
    assert verified(signed(said(video), KEY).encode(), video, PUBLIC) == said(video)


def test_another_video_is_not_authentic(video: Path) -> None:
    sidecar = signed(said(video), KEY).encode()
    video.write_bytes(b"A video")
    with pytest.raises(NotAuthentic, match="another video"):
        verified(sidecar, video, PUBLIC)


def test_a_changed_word_is_not_authentic(video: Path) -> None:
    sidecar = json.loads(signed(said(video), KEY))
    sidecar["payload"] = sidecar["payload"].replace('"seed":7', '"seed":8')
    with pytest.raises(NotAuthentic, match="signature"):
        verified(json.dumps(sidecar).encode(), video, PUBLIC)


def test_another_key_is_not_authentic(video: Path) -> None:
    with pytest.raises(NotAuthentic, match="another fleet"):
        verified(signed(said(video), Ed25519PrivateKey.generate()).encode(), video, PUBLIC)


@pytest.mark.parametrize("sidecar", [b"", b"{}", b'{"payload": "{}", "signature": "%"}', b"\xff"])
def test_any_other_file_is_no_provenance(video: Path, sidecar: bytes) -> None:
    with pytest.raises(NotAuthentic, match="no provenance file"):
        verified(sidecar, video, PUBLIC)


def test_keys_of_other_kinds_are_refused(video: Path) -> None:
    other = generate_private_key(SECP256R1())
    with pytest.raises(KeyUnusable, match="not of Ed25519"):
        private_key(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(KeyUnusable, match="no private key"):
        private_key(b"hello")
    public = other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    for pem in (public, b"hello"):
        with pytest.raises(KeyUnusable):
            verified(signed(said(video), KEY).encode(), video, pem)
