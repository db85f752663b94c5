"""What a golden clip looks like, in five figures: a canary's are compared with stable's of the same prompts.

Fed frame by frame beside the gate, on the gate's grid, so that noise and blur count and single pixels do not. Nothing
is judged here, and no picture leaves the worker by it.
"""

from typing import TYPE_CHECKING

from videofleet.jobs import ClipLook
from videofleet_worker.gate import sampled

if TYPE_CHECKING:
    import numpy as np


class Look:
    """Looks at the frames of one clip, in their order."""

    def __init__(self) -> None:
        self._frames: list[tuple[float, float, float, float]] = []
        self._motion: list[float] = []
        self._before: np.ndarray | None = None

    def see(self, frame: "np.ndarray") -> None:
        """Takes in one frame, (height, width, 3) uint8."""
        import numpy as np

        sample = sampled(frame)
        luma = sample @ np.array([0.2126, 0.7152, 0.0722], np.float32)  # BT.709
        steps = np.abs(np.diff(luma, axis=0)).mean() + np.abs(np.diff(luma, axis=1)).mean()
        colour = (sample.max(axis=2) - sample.min(axis=2)).mean()
        self._frames.append((float(luma.mean()), float(luma.std()), float(steps) / 2, float(colour)))
        if self._before is not None:
            self._motion.append(float(np.abs(luma - self._before).mean()))
        self._before = luma

    def figures(self) -> ClipLook:
        """Of all frames seen, one at least."""
        brightness, contrast, detail, colour = (round(sum(of) / len(of), 2) for of in zip(*self._frames, strict=True))
        motion = round(sum(self._motion) / max(1, len(self._motion)), 2)
        return ClipLook(brightness=brightness, contrast=contrast, detail=detail, motion=motion, colour=colour)
