"""Frames to files that a browser plays: H.264 in MP4, and two JPEGs.

Invariant: a clip is read frame by frame, never held whole. Colours are BT.709, limited range, and tagged as such. The
files say which job made them; prompts stay out of them. PyAV, numpy and Pillow are imported at first use, because a
supervisor that waits for its model needs none.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from videofleet.objects import SPRITES
from videofleet_worker.protocol import FramesFile

if TYPE_CHECKING:
    import numpy as np

# Uniform colour noise, the hardest case, keeps a luma PSNR of 35 dB at 16; each step of 2 costs about 2 dB.
CRF: Final = "16"
PRESET: Final = "veryfast"
BT709: Final = 1  # the code of that name in H.273 for primaries, transfer and matrix
LIMITED_RANGE: Final = 1
THUMBNAIL_WIDTH_PX: Final = 640
SPRITE_WIDTH_PX: Final = 160


Look = Callable[["np.ndarray"], None]  # at a frame, or drawing on it


def untouched(_: "np.ndarray") -> None:
    """What is done to a frame unless somebody asks for more."""


def write_video(
    frames: FramesFile, path: Path, *, title: str, comment: str, see: Look = untouched, mark: Look = untouched
) -> None:
    """Encodes the clip; the index stands first (faststart), so playback begins before the download ends.

    `see` looks at each frame as it was made; `mark` then draws on it.
    """
    import av
    from av.video.reformatter import ColorRange, Colorspace

    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        container.metadata.update({"title": title, "comment": comment})
        stream = container.add_stream("libx264", rate=frames.fps, options={"crf": CRF, "preset": PRESET})
        stream.width, stream.height, stream.pix_fmt = frames.width, frames.height, "yuv420p"
        codec = stream.codec_context
        codec.color_primaries = codec.color_trc = codec.colorspace = BT709
        codec.color_range = LIMITED_RANGE
        for index, pixels in enumerate(read_frames(frames)):
            see(pixels)
            mark(pixels)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
                format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
            )
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_thumbnail(frames: FramesFile, path: Path, *, mark: Look = untouched) -> None:
    """The middle frame as JPEG, at most 640 pixels wide."""
    from PIL import Image

    pixels = _frame(frames, frames.num_frames // 2)
    mark(pixels)
    image = Image.fromarray(pixels)
    if image.width > THUMBNAIL_WIDTH_PX:
        image = image.resize((THUMBNAIL_WIDTH_PX, round(image.height * THUMBNAIL_WIDTH_PX / image.width)))
    image.save(path, "JPEG", quality=85)


def write_spritesheet(frames: FramesFile, path: Path, *, mark: Look = untouched) -> None:
    """Frames evenly over the clip as one JPEG, `SPRITES` × `SPRITES`, row by row; of a short clip some stand twice.

    Example: 31 frames → frames 0, 2, 4, … 30 of the clip, each 160 pixels wide.
    """
    from PIL import Image

    height = max(1, round(frames.height * SPRITE_WIDTH_PX / frames.width))
    sheet = Image.new("RGB", (SPRITES * SPRITE_WIDTH_PX, SPRITES * height))
    count = SPRITES * SPRITES
    for place in range(count):
        pixels = _frame(frames, place * (frames.num_frames - 1) // (count - 1))
        mark(pixels)
        picture = Image.fromarray(pixels).resize((SPRITE_WIDTH_PX, height), reducing_gap=2.0)
        row, column = divmod(place, SPRITES)
        sheet.paste(picture, (column * SPRITE_WIDTH_PX, row * height))
    sheet.save(path, "JPEG", quality=80)


def read_frames(frames: FramesFile) -> "Iterator[np.ndarray]":
    """The clip's frames, (height, width, 3) each."""
    return (_frame(frames, index) for index in range(frames.num_frames))


def _frame(frames: FramesFile, index: int) -> "np.ndarray":
    import numpy as np

    count = frames.width * frames.height * 3
    pixels = np.fromfile(frames.path, dtype=np.uint8, count=count, offset=index * count)
    return pixels.reshape(frames.height, frames.width, 3)
