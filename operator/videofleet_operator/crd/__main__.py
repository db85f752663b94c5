"""Writes the CRD and its reference page into a checkout: `python -m videofleet_operator.crd [ROOT]`."""

import sys
from pathlib import Path

from videofleet_operator.crd.document import crd_markdown, crd_yaml


def main(root: Path) -> None:
    """Writes both files under the repository root."""
    for path, text in (("crds/videogenerators.yaml", crd_yaml()), ("docs/reference/crd.md", crd_markdown())):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path())
