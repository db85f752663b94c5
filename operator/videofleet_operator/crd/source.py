"""Where a model's files lie: `file:///path` in the worker image, or `pvc://CLAIM/path` on a volume of the
namespace.

A source names a claim, never a namespace, so that no fleet reaches into another namespace.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final

from pydantic import Field

from videofleet_operator.crd.rules import Rule, matches, quoted

_CLAIM: Final = "^pvc://[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(/.*)?$"
_DOTS: Final = "(^|/)\\.\\.(/|$)"

SCHEME = matches(
    "^(file:///.+|pvc://.*)$",
    "source must be file:///PATH (a folder of the worker image) or pvc://CLAIM/PATH (a folder of a"
    " PersistentVolumeClaim in this namespace)",
)
CLAIM = Rule(
    f"!self.startsWith('pvc://') || self.matches({quoted(_CLAIM)})",
    "pvc:// must be followed by the name of a PersistentVolumeClaim: pvc://CLAIM/PATH",
    lambda text: not text.startswith("pvc://") or re.fullmatch(_CLAIM, text) is not None,
)
NO_DOTS = Rule(
    f"!self.matches({quoted(_DOTS)})",
    "source must not contain a `..` segment; write the path without it",
    lambda text: re.search(_DOTS, text) is None,
)

SourceText = Annotated[str, Field(min_length=8, max_length=512, pattern="^[!-~]+$"), NO_DOTS, CLAIM, SCHEME]


@dataclass(frozen=True)
class ModelSource:
    """A source taken apart: `claim` is None when the files are part of the image."""

    claim: str | None
    path: str  # absolute in the image, or relative to the claim's root


def parse_source(text: str) -> ModelSource:
    """Takes a valid source apart.

    Example: pvc://models/wan/a14b → claim `models`, path `wan/a14b`.
    """
    if text.startswith("file://"):
        return ModelSource(claim=None, path=text.removeprefix("file://"))
    claim, _, path = text.removeprefix("pvc://").partition("/")
    return ModelSource(claim=claim, path=path.strip("/"))
