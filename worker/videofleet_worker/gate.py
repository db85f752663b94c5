"""The last look at a clip before it is stored: black, flat and frozen videos are refused, whatever made them so.

Fed frame by frame while the clip is encoded, on a grid of about 90 rows, so that a clip is read once and the look costs
a millisecond or two a frame. What is not finite never gets here: decoding finds it. A fade, a night scene, a
still life and plain noise are videos; the limits below are what no generation of a working model came near.
"""

from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np

SAMPLE_ROWS: Final = 90  # of a frame, at least: every 8th pixel of every 8th row at 720p
BLACK_LEVEL: Final = 24  # of 255: a frame none of whose pixels is brighter
FLAT_DEVIATION: Final = 2.0  # of 255: standard deviation of each colour over a frame
FROZEN_DIFFERENCE: Final = 0.05  # of 255: mean over a frame, to the one before
MOST_BAD: Final = 0.5  # share of black or flat frames; a fade has fewer
MOST_FROZEN: Final = 0.9  # share of frames that repeat the one before


class Flaw(StrEnum):
    """Why a clip is no video."""

    NOT_FINITE = "not_finite"
    BLACK = "black"
    FLAT = "flat"  # one colour
    FROZEN = "frozen"  # one picture


class Rejected(Exception):
    """The clip must not be delivered."""

    def __init__(self, flaw: Flaw) -> None:
        self.flaw = flaw
        super().__init__(f"the clip is {flaw.replace('_', ' ')}")


def sampled(frame: "np.ndarray") -> "np.ndarray":
    """Points of a frame on a grid of about `SAMPLE_ROWS` rows, (rows, columns, 3) float32."""
    import numpy as np

    step = max(1, min(frame.shape[:2]) // SAMPLE_ROWS)
    return frame[::step, ::step].astype(np.float32)


class Gate:
    """Looks at the frames of one clip, in their order."""

    def __init__(self) -> None:
        self._frames = 0
        self._black = 0
        self._flat = 0
        self._frozen = 0
        self._before: np.ndarray | None = None

    def see(self, frame: "np.ndarray") -> None:
        """Takes in one frame, (height, width, 3) uint8."""
        import numpy as np

        sample = sampled(frame)
        self._frames += 1
        self._black += float(sample.max()) < BLACK_LEVEL
        self._flat += float(sample.std(axis=(0, 1)).max()) < FLAT_DEVIATION
        if self._before is not None:
            self._frozen += float(np.abs(sample - self._before).mean()) < FROZEN_DIFFERENCE
        self._before = sample

    def flaw(self) -> Flaw | None:
        """What is wrong with the clip; None for a video."""
        if self._black > MOST_BAD * self._frames:
            return Flaw.BLACK
        if self._flat > MOST_BAD * self._frames:
            return Flaw.FLAT
        if self._frames > 1 and self._frozen > MOST_FROZEN * (self._frames - 1):
            return Flaw.FROZEN
        return None
