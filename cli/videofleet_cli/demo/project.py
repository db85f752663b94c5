"""Where the demo finds the chart, the example and the model: in the clone that this program is installed from."""

from dataclasses import dataclass
from pathlib import Path

from videofleet_cli.exits import CommandError, Exit


@dataclass(frozen=True)
class Project:
    """A clone of the repository."""

    root: Path

    @property
    def chart(self) -> Path:
        """The Helm chart."""
        return self.root / "charts" / "videofleet"

    @property
    def example(self) -> Path:
        """The VideoGenerator of the demo."""
        return self.root / "examples" / "tiny.yaml"

    @property
    def build(self) -> Path:
        """Where everything goes that is made."""
        return self.root / "build"


def find_project() -> Project:
    """The clone. Raises: CommandError."""
    project = Project(Path(__file__).resolve().parents[3])
    if not (project.chart / "Chart.yaml").is_file():
        message = "the demo needs the chart and the examples: run it from a clone of the repository (make demo)"
        raise CommandError(message, Exit.REFUSED)
    return project


def require_model(models: Path) -> None:
    """Raises: CommandError unless the example's model is in the folder."""
    if not (models / "tiny-a14b" / "model_index.json").is_file():
        raise CommandError(f"{models}/tiny-a14b is not there; build it first: make model", Exit.REFUSED)
