"""Constants of the model architectures, as far as rules need them before any weight is read.

One home for each fact: CEL rules, the gateway's validation and the worker's load check all read this table.
Source: model cards and diffusers' configs of Wan2.2-T2V-A14B and Wan2.2-TI2V-5B.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Architecture(StrEnum):
    """A family of checkpoints with one set of constants; `spec.model.architecture`."""

    WAN22_T2V_A14B = "wan2.2-t2v-a14b"
    WAN22_TI2V_5B = "wan2.2-ti2v-5b"


@dataclass(frozen=True)
class Constants:
    """What a tier must fit."""

    size_multiple_px: int  # width and height divide by it: VAE spatial compression × patch size
    fps: int  # frames a second the model was trained at
    frames_multiple: int  # num_frames = k × this + 1: VAE temporal compression
    has_two_experts: bool  # transformer and transformer_2
    num_attention_heads: int


CONSTANTS: Final = {
    Architecture.WAN22_T2V_A14B: Constants(
        size_multiple_px=16, fps=16, frames_multiple=4, has_two_experts=True, num_attention_heads=40
    ),
    Architecture.WAN22_TI2V_5B: Constants(
        size_multiple_px=32, fps=24, frames_multiple=4, has_two_experts=False, num_attention_heads=24
    ),
}
