"""Where a model's files lie: on a hub, in a bucket, on a volume of the namespace, or in the worker image.

A source names a claim or a Secret, never a namespace, so that no fleet reaches into another namespace. A hub's commit
is pinned, because a name there may mean something else tomorrow.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field

from videofleet_operator.crd.rules import Rule, matches, quoted

_CLAIM: Final = "^pvc://[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(/.*)?$"
_HUB: Final = "^hf://[A-Za-z0-9][-A-Za-z0-9_.]*/[A-Za-z0-9][-A-Za-z0-9_.]*$"
_BUCKET: Final = "^s3://[a-z0-9][-a-z0-9.]*[a-z0-9]/.+$"
_DOTS: Final = "(^|/)\\.\\.(/|$)"
_COMMIT: Final = "^[0-9a-f]{40}$"

SCHEME = matches(
    "^(hf://.+|s3://.+|file:///.+|pvc://.*)$",
    "source must be file:///PATH (a folder of the worker image), pvc://CLAIM/PATH (a folder of a"
    " PersistentVolumeClaim in this namespace), s3://BUCKET/PATH or hf://ORG/NAME",
)


def _form(scheme: str, pattern: str, message: str) -> Rule:
    return Rule(
        f"!self.startsWith('{scheme}') || self.matches({quoted(pattern)})",
        message,
        lambda text: not text.startswith(scheme) or re.fullmatch(pattern, text) is not None,
    )


CLAIM = _form("pvc://", _CLAIM, "pvc:// must be followed by the name of a PersistentVolumeClaim: pvc://CLAIM/PATH")
HUB = _form("hf://", _HUB, "hf:// must be followed by a repository of the hub: hf://ORG/NAME")
BUCKET = _form("s3://", _BUCKET, "s3:// must be followed by a bucket and a folder in it: s3://BUCKET/PATH")
NO_DOTS = Rule(
    f"!self.matches({quoted(_DOTS)})",
    "source must not contain a `..` segment; write the path without it",
    lambda text: re.search(_DOTS, text) is None,
)

SourceText = Annotated[
    str, Field(min_length=8, max_length=512, pattern="^[!-~]+$"), NO_DOTS, CLAIM, HUB, BUCKET, SCHEME
]
CommitText = Annotated[
    str, Field(max_length=40), matches(_COMMIT, "revision must be a commit of the hub: 40 hex digits, no branch or tag")
]


def _has_commit(model: Any) -> bool:
    return bool(model.source.startswith("hf://") == (model.revision is not None))


def _may_have_secret(model: Any) -> bool:
    return model.secret is None or model.source.startswith(("hf://", "s3://"))


MODEL_RULES: Final = (
    Rule(
        "self.source.startsWith('hf://') == has(self.revision)",
        "revision, the 40 hex digits of a commit, belongs to a hf:// source and to no other",
        _has_commit,
        ".revision",
    ),
    Rule(
        "!has(self.secret) || self.source.startsWith('hf://') || self.source.startsWith('s3://')",
        "secret opens a hf:// or s3:// source; leave it out for pvc:// and file://",
        _may_have_secret,
        ".secret",
    ),
)


@dataclass(frozen=True)
class ModelSource:
    """A source taken apart: `claim` is None unless it is a volume of the namespace."""

    claim: str | None
    path: str  # absolute in the image, relative to the claim's root, or ORG/NAME or BUCKET/PATH
    is_remote: bool = False  # files that no mount brings


def parse_source(text: str) -> ModelSource:
    """Takes a valid source apart.

    Example: pvc://models/wan/a14b → claim `models`, path `wan/a14b`.
    """
    scheme, _, rest = text.partition("://")
    if scheme in ("hf", "s3"):
        return ModelSource(claim=None, path=rest, is_remote=True)
    if scheme == "file":
        return ModelSource(claim=None, path=rest)
    claim, _, path = rest.partition("/")
    return ModelSource(claim=claim, path=path.strip("/"))
