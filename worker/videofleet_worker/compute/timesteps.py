"""TI2V-5B takes a timestep for every token; in a video made from text alone they are all equal, so a few rows will do.

At 1280×704×121 the modulation of 27,280 equal tokens is 2 GB of float32 that every block reads and adds to; that of one
row is broadcast. But a product of few rows may add up in another order than one of many, on every device anew. So the
first calls of a shape, which warm-up makes, compute both ways; only as many rows as gave the same bits are used from
then on, and where none did, all of them for ever, as diffusers does.
Invariant: the video is the same to the bit.
"""

import logging
from dataclasses import dataclass, field
from typing import Any, Final

import torch

log = logging.getLogger(__name__)

ROWS: Final = (4, 64, 512)  # one row takes a matrix-vector kernel, which agreed neither in float32 nor in bfloat16
PROOFS: Final = 4  # calls, each with a timestep of its own, that must agree


@dataclass
class Proof:
    """What is known of one shape: the numbers of rows that have agreed in every call so far."""

    calls: int = 0
    candidates: list[int] = field(default_factory=lambda: list(ROWS))

    @property
    def rows(self) -> int | None:
        """Rows that will do; None: all."""
        return self.candidates[0] if self.calls >= PROOFS and self.candidates else None

    def hear(self, agreed: set[int]) -> None:
        """The result of one more call."""
        self.calls += 1
        self.candidates = [rows for rows in self.candidates if rows in agreed]

    @property
    def is_open(self) -> bool:
        """Whether another call must be computed both ways."""
        return self.calls < PROOFS and bool(self.candidates)


class FewRows:
    """Stands before an expert's `condition_embedder`, whose rows of one sample are all equal."""

    def __init__(self, embedder: torch.nn.Module) -> None:
        self._forward = embedder.forward
        self.proofs: dict[tuple[int, int], Proof] = {}
        embedder.forward = self.forward  # as diffusers' own hooks do

    def forward(
        self,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        encoder_hidden_states_image: torch.Tensor | None = None,
        timestep_seq_len: int | None = None,
    ) -> Any:
        """(temb, timestep_proj, text, image) as the embedder's own; of the first two one row a sample, once proven."""
        if timestep_seq_len is None:
            return self._forward(timestep, encoder_hidden_states, encoder_hidden_states_image)
        samples = timestep.numel() // timestep_seq_len
        per_token = timestep.view(samples, timestep_seq_len)

        def computed(rows: int) -> Any:
            few = per_token[:, :rows].flatten()
            return self._forward(few, encoder_hidden_states, encoder_hidden_states_image, timestep_seq_len=rows)

        proof = self.proofs.setdefault((samples, timestep_seq_len), Proof())
        if proof.rows is not None:
            temb, modulation, *others = computed(proof.rows)
            return temb[:, :1], modulation[:, :1], *others
        whole = computed(timestep_seq_len)
        if proof.is_open:
            proof.hear({rows for rows in proof.candidates if rows < timestep_seq_len and _agree(computed(rows), whole)})
            log.info("equal timesteps", extra={"tokens": timestep_seq_len, "rows_that_agree": proof.candidates})
        return whole


def _agree(few: Any, whole: Any) -> bool:
    """Whether the first row stands for all of them, bit for bit."""
    return all(torch.equal(some[:, :1].expand_as(all_), all_) for some, all_ in zip(few[:2], whole[:2], strict=True))
