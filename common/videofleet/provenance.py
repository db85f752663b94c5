"""Where a video came from, signed: a JSON file beside it that anyone with the public key can check.

The signature (Ed25519) is over the exact text of the payload, which names the video by its SHA-256; so neither the
words nor the video can be exchanged. It says who made it and how, never what was asked for. `cryptography` is imported
at first use: only a fleet that signs needs it.
"""

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import ValidationError

from videofleet.tiers import Tier
from videofleet.wire import Wire

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MOST_BYTES: Final = 1 << 20
CHUNK_BYTES: Final = 1 << 20


class NotAuthentic(Exception):
    """The video is not what the sidecar says, or nobody with that key said it."""


class KeyUnusable(Exception):
    """No Ed25519 key in PEM."""


class Provenance(Wire):
    """What is said of one video."""

    v: int = 1
    job: str
    attempt: int
    model: str  # folder of the weights
    revision: str
    tier: Tier  # as delivered
    seed: int
    video_sha256: str


class Sidecar(Wire):
    """What is stored: the payload's text, and its signature in base64."""

    payload: str
    signature: str


def private_key(pem: bytes) -> "Ed25519PrivateKey":
    """Raises: KeyUnusable."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as error:
        raise KeyUnusable("no private key in PEM without a password") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise KeyUnusable("a private key, but not of Ed25519")
    return key


def signed(said: Provenance, key: "Ed25519PrivateKey") -> str:
    """The sidecar's text."""
    payload = said.to_json()
    signature = base64.b64encode(key.sign(payload.encode())).decode()
    return Sidecar(payload=payload, signature=signature).to_json()


def verified(sidecar: bytes, video: Path, public_pem: bytes) -> Provenance:
    """What is said of the video. Raises: NotAuthentic, KeyUnusable, OSError."""
    try:
        found = Sidecar.model_validate_json(sidecar[:MOST_BYTES])
        signature = base64.b64decode(found.signature, validate=True)
    except (ValidationError, ValueError) as error:
        raise NotAuthentic("the sidecar is no provenance file") from error
    _check(_public_key(public_pem), signature, found.payload.encode())
    try:
        said = Provenance.model_validate_json(found.payload)
    except ValidationError as error:
        raise NotAuthentic("the sidecar's signature holds, but it is of another version") from error
    if said.video_sha256 != sha256_of(video):
        raise NotAuthentic("the sidecar is authentic and belongs to another video, or this one was changed")
    return said


def sha256_of(file: Path) -> str:
    """Hex digits."""
    sha = hashlib.sha256()
    with file.open("rb") as content:
        while chunk := content.read(CHUNK_BYTES):
            sha.update(chunk)
    return sha.hexdigest()


def _public_key(pem: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem)
    except ValueError as error:
        raise KeyUnusable("no public key in PEM") from error
    if not isinstance(key, Ed25519PublicKey):
        raise KeyUnusable("a public key, but not of Ed25519")
    return key


def _check(key: Any, signature: bytes, payload: bytes) -> None:
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, payload)
    except InvalidSignature as error:
        raise NotAuthentic(
            "the signature is not of this key: the sidecar was changed, or another fleet signed"
        ) from error
