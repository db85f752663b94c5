"""`videofleet verify`: whether a video is what the provenance beside it says, and who said so."""

from pathlib import Path
from typing import Annotated, Final

import typer

from videofleet.provenance import KeyUnusable, NotAuthentic, Provenance, verified
from videofleet_cli import screen
from videofleet_cli.exits import CommandError, Exit

SUFFIX: Final = ".provenance.json"


def verify(
    video: Annotated[Path, typer.Argument(help="The MP4.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="Public Ed25519 key in PEM of the fleet that signs.")],
    sidecar: Annotated[
        Path | None, typer.Option(metavar="FILE", help=f"The provenance; VIDEO{SUFFIX} when not given.")
    ] = None,
) -> None:
    """Check a video against its signed provenance. Exit code 1: it is not authentic."""
    sidecar = sidecar or video.with_suffix(SUFFIX)
    try:
        said = verified(sidecar.read_bytes(), video, key.read_bytes())
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}", Exit.REFUSED) from error
    except KeyUnusable as error:
        raise CommandError(f"--key {key}: {error}; `openssl pkey -pubout` makes one", Exit.REFUSED) from error
    except NotAuthentic as error:
        raise CommandError(f"{video} is NOT authentic: {error}", Exit.FAILED) from error
    screen.out.print(f"{video} is authentic: {_told(said)}", markup=False)


def _told(said: Provenance) -> str:
    tier = said.tier
    made = (
        f"tier {tier.name} ({tier.size}, {tier.num_frames} frames, {tier.num_inference_steps} steps), seed {said.seed}"
    )
    return f"job {said.job}, model {said.model}, revision {said.revision}, {made}"
