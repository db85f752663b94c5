"""When a job's state is written, and where: rank 0 leaves it in a file for the supervisor to store."""

import logging
import time
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from videofleet_worker import protocol
from videofleet_worker.compute import checkpoint
from videofleet_worker.compute.denoise import Denoising

log = logging.getLogger(__name__)


class Saver:
    """Writes one job's state when it is due, for the supervisor to store."""

    def __init__(self, work: protocol.Work, belongs_to: dict[str, Any], job: Denoising) -> None:
        self._work = work
        self._belongs_to = belongs_to
        self._job = job
        self._saved_step = job.step
        self._saved_at = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether more work than agreed would be lost by now."""
        return time.monotonic() - self._saved_at >= self._work.checkpoint_every_s

    def save(self) -> protocol.Checkpointed | None:
        """Writes the state unless it lies there already; a full disk costs the checkpoint, not the job."""
        step = self._job.step
        if step == self._saved_step:
            return None
        self._saved_step, self._saved_at = step, time.monotonic()
        path = self._written(f"{self._work.checkpoint_path}.{step}")
        return protocol.Checkpointed(job=self._work.job, path=str(path), step=step) if path else None

    def save_last(self) -> Path | None:
        """The state after the last step, for a decoder; None when it could not be written."""
        return self._written(f"{self._work.checkpoint_path}.last")

    def _written(self, name: str) -> Path | None:
        path = Path(name)
        try:
            checkpoint.save(path, self._job, self._belongs_to)
        except (OSError, SafetensorError) as error:
            log.warning("checkpoint not written", extra={"job": self._work.job, "error": type(error).__name__})
            path.unlink(missing_ok=True)
            return None
        return path
