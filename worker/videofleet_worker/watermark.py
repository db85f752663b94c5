"""A visible line of text in the lower right corner of every frame and picture.

Drawn once into a mask and blended into the pixels, light on a dark edge, so that it is read on any ground. The text is
the fleet's (spec.output.watermark), never a user's.
"""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np

HEIGHT_SHARE: Final = 0.04  # of the frame's height
SMALLEST_PX: Final = 8
OPACITY: Final = 0.7
EDGE_PX: Final = 1


class Watermark:
    """One text at the size of one clip."""

    def __init__(self, text: str, width: int, height: int) -> None:
        import numpy as np
        from PIL import Image, ImageDraw, ImageFont

        size = max(SMALLEST_PX, round(height * HEIGHT_SHARE))
        font = ImageFont.load_default(size)
        left, top, right, bottom = font.getbbox(text, stroke_width=EDGE_PX)
        picture = Image.new("LA", (int(right - left), int(bottom - top)))
        ImageDraw.Draw(picture).text(
            (-left, -top), text, font=font, fill=(255, 255), stroke_width=EDGE_PX, stroke_fill=(0, 255)
        )
        margin = size // 2
        drawn = np.asarray(picture, dtype=np.float32)[: height - margin, : width - margin]
        self._light = drawn[..., :1] * OPACITY * (drawn[..., 1:] / 255)
        self._keep = 1 - OPACITY * (drawn[..., 1:] / 255)
        rows, columns = drawn.shape[:2]
        self._rows = slice(height - margin - rows, height - margin)
        self._columns = slice(width - margin - columns, width - margin)

    def draw(self, frame: "np.ndarray") -> None:
        """Onto a frame, (height, width, 3) uint8, in place."""
        ground = frame[self._rows, self._columns]
        ground[...] = (ground * self._keep + self._light).round().astype(ground.dtype)
