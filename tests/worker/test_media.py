"""MP4 and thumbnail: playable, close to the frames, and silent about the prompt."""

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from videofleet_worker.media import write_spritesheet, write_thumbnail, write_video
from videofleet_worker.protocol import FramesFile
from videofleet_worker.watermark import Watermark


@pytest.fixture
def noise(tmp_path: Path) -> tuple[FramesFile, np.ndarray]:
    """Uniform colour noise: nothing is harder to encode."""
    pixels = np.random.default_rng(0).integers(0, 256, (9, 64, 96, 3), dtype=np.uint8)
    path = tmp_path / "noise.rgb"
    path.write_bytes(pixels.tobytes())
    return FramesFile(path=str(path), width=96, height=64, num_frames=9, fps=24), pixels


def luma(rgb: np.ndarray) -> np.ndarray:
    return np.asarray(rgb @ np.array([0.2126, 0.7152, 0.0722]))


def psnr_db(left: np.ndarray, right: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((left - right) ** 2)))


def test_even_noise_keeps_its_luma(noise: tuple[FramesFile, np.ndarray], tmp_path: Path) -> None:
    frames, pixels = noise
    write_video(frames, tmp_path / "video.mp4", title="t", comment="c")
    with av.open(str(tmp_path / "video.mp4")) as container:
        decoded = np.array([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    assert decoded.shape == pixels.shape
    assert psnr_db(luma(decoded), luma(pixels)) >= 33


def test_a_browser_plays_it_at_once(noise: tuple[FramesFile, np.ndarray], tmp_path: Path) -> None:
    video = tmp_path / "video.mp4"
    write_video(noise[0], video, title="job-1", comment="by a test")
    with av.open(str(video)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (stream.width, stream.height, stream.frames, stream.average_rate) == (96, 64, 9, 24)
        assert stream.codec_context.colorspace == 1, "BT.709"
        assert container.metadata["title"] == "job-1"
        assert container.metadata["comment"] == "by a test"
    content = video.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "faststart"


def test_the_thumbnail_is_the_middle_frame(tmp_path: Path) -> None:
    clip = np.zeros((3, 64, 1280, 3), dtype=np.uint8)
    clip[1] = (200, 100, 50)
    (tmp_path / "clip.rgb").write_bytes(clip.tobytes())
    frames = FramesFile(path=str(tmp_path / "clip.rgb"), width=1280, height=64, num_frames=3, fps=16)
    write_thumbnail(frames, tmp_path / "thumbnail.jpg")
    with av.open(str(tmp_path / "thumbnail.jpg")) as container:
        image = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert image.shape == (32, 640, 3)
    assert np.abs(image.mean(axis=(0, 1)) - (200, 100, 50)).max() < 3


@pytest.mark.parametrize(("num_frames", "shown"), [(31, range(0, 31, 2)), (5, [i * 4 // 15 for i in range(16)])])
def test_the_sprite_sheet_runs_through_the_clip(tmp_path: Path, num_frames: int, shown: Any) -> None:
    levels = np.linspace(0, 255, num_frames).astype(np.uint8)
    clip = np.broadcast_to(levels[:, None, None, None], (num_frames, 90, 160, 3))
    (tmp_path / "clip.rgb").write_bytes(clip.tobytes())
    frames = FramesFile(path=str(tmp_path / "clip.rgb"), width=160, height=90, num_frames=num_frames, fps=16)
    write_spritesheet(frames, tmp_path / "sheet.jpg")
    with av.open(str(tmp_path / "sheet.jpg")) as container:
        sheet = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert sheet.shape == (360, 640, 3)
    tiles = sheet.reshape(4, 90, 4, 160, 3).swapaxes(1, 2).reshape(16, 90, 160, 3)
    assert np.abs(tiles.mean(axis=(1, 2, 3)) - levels[list(shown)]).max() < 3


@pytest.mark.parametrize("ground", [0, 128, 255], ids=["black", "grey", "white"])
def test_a_watermark_is_read_on_any_ground_and_leaves_the_rest_alone(ground: int) -> None:
    frame = np.full((180, 320, 3), ground, np.uint8)
    Watermark("made with AI", 320, 180).draw(frame)
    changed = np.abs(frame.astype(int) - ground).max(axis=2) > 60
    rows, columns = np.nonzero(changed)
    assert changed.sum() > 50
    assert rows.min() > 160
    assert columns.min() > 160


def test_a_watermark_that_is_too_long_is_cut_and_not_an_error() -> None:
    frame = np.zeros((64, 64, 3), np.uint8)
    Watermark("a text of exactly sixty-four characters, which fits no small clip", 64, 64).draw(frame)
    assert frame.any()


def test_a_video_carries_its_watermark(tmp_path: Path) -> None:
    pixels = np.full((9, 180, 320, 3), 90, np.uint8)
    (tmp_path / "clip.rgb").write_bytes(pixels.tobytes())
    clip = FramesFile(path=str(tmp_path / "clip.rgb"), width=320, height=180, num_frames=9, fps=16)
    write_video(clip, tmp_path / "v.mp4", title="t", comment="c", mark=Watermark("made with AI", 320, 180).draw)
    with av.open(str(tmp_path / "v.mp4")) as container:
        for frame in container.decode(video=0):
            picture = frame.to_ndarray(format="rgb24").astype(int)
            assert picture[160:, 160:].std() > 10
            assert picture[:100].std() < 3
