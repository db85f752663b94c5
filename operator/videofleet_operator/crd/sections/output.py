"""`spec.output`: where videos go."""

from typing import Annotated

from pydantic import Field

from videofleet.policy import CacheScope
from videofleet_operator.crd.rules import duration, matches
from videofleet_operator.crd.values import Label, SpecModel


class Output(SpecModel):
    """Where videos go."""

    store: Label = Field(description="Name of an object store of the installation.")
    prefix: Annotated[
        str,
        Field(max_length=128),
        matches(
            "^([A-Za-z0-9_-][A-Za-z0-9_.-]*(/[A-Za-z0-9_-][A-Za-z0-9_.-]*)*)?$",
            "prefix must be a relative path of letters, digits, `.`, `_` and `-`, without a leading or"
            " trailing `/`"
            " and with no part beginning with `.`",
        ),
    ] = Field(default="", description="Folder in the store.")
    watermark: (
        Annotated[
            str,
            Field(max_length=64),
            matches("^[ -~]*[!-~][ -~]*$", "watermark must be a line of printable ASCII characters, not only blanks"),
        ]
        | None
    ) = Field(default=None, description="Line of text in the lower right corner of every frame and picture.")
    signing_secret: Label | None = Field(
        default=None,
        description="Secret of the namespace whose `ed25519.pem` signs where each video came from; nobody when not"
        " given.",
    )
    cache: CacheScope = Field(
        default=CacheScope.NONE,
        description="Whose earlier videos may answer a request with the same seed and settings: nobody's, the"
        " tenant's own, or everybody's who uses the fleet.",
    )
    retention: Annotated[str, Field(max_length=7), duration("1m", "87600h")] | None = Field(
        default=None,
        description="How long a finished video and its record stay; for ever, or until deleted, when not given.",
    )
