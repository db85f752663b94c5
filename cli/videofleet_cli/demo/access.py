"""The demo's API key, and the file to source for who wants to go on by hand. Both are for the user's eyes only."""

import hashlib
import secrets
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Final

KEY_ID: Final = "demo"
TENANT: Final = "demo"


@dataclass(frozen=True)
class Access:
    """Files below the output folder, mode 0600."""

    folder: Path

    @property
    def key_file(self) -> Path:
        """Holds the key's text."""
        return self.folder / "api-key"

    @property
    def env_file(self) -> Path:
        """To be sourced by a shell."""
        return self.folder / "env"

    def make_key(self) -> dict[str, str]:
        """A new random key; returns what the gateway may know of it, an entry of gateway.keys."""
        key = f"vf_{KEY_ID}_{secrets.token_hex(32)}"
        _write(self.key_file, key + "\n")
        return {"id": KEY_ID, "tenant": TENANT, "sha256": hashlib.sha256(key.encode()).hexdigest()}

    def write_env(self, gateway: str, kubeconfig: Path) -> None:
        """What kubectl and `videofleet` read."""
        variables = {
            "VIDEOFLEET_GATEWAY": gateway,
            "VIDEOFLEET_API_KEY_FILE": str(self.key_file.absolute()),
            "KUBECONFIG": str(kubeconfig.absolute()),
        }
        _write(self.env_file, "".join(f"export {name}={shlex.quote(text)}\n" for name, text in variables.items()))

    def remove(self) -> None:
        """Forgets both: what they open is gone."""
        self.key_file.unlink(missing_ok=True)
        self.env_file.unlink(missing_ok=True)


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
