"""Texts to embeddings, each text once: a fleet's negative prompt is the same in nearly every job, and users retry.

Rank 0 encodes, the others are given what it has. Invariant: what comes from the cache is what the text encoder would
give, bit for bit. It lives in this process only, because embeddings tell of their prompts.
"""

from collections import OrderedDict
from typing import Final

import torch
from diffusers import WanPipeline

from videofleet_worker.compute.group import SOLO, Group

MAX_SEQUENCE_LENGTH: Final = 512  # the pipeline's default; padding is attended to, so it changes the video
MOST_TEXTS: Final = 32  # 4 MB each with UMT5-XXL


class Prompts:
    """The embeddings that one pipeline used last."""

    def __init__(self, pipe: WanPipeline, group: Group = SOLO) -> None:
        self._pipe = pipe
        self._group = group
        self.device = group.device
        self._kept: OrderedDict[str, torch.Tensor] = OrderedDict()

    @torch.no_grad()  # type: ignore[untyped-decorator]  # torch's types are not followed
    def embeds(self, text: str) -> torch.Tensor:
        """(1, 512, width) in the experts' dtype; not to be written to."""
        if text not in self._kept:
            model = self._pipe.transformer
            shape = (1, MAX_SEQUENCE_LENGTH, model.config.text_dim)
            encoded = self._encoded(text) if self._group.leads else None
            self._kept[text] = self._group.share_tensor(encoded, shape, model.dtype)
            while len(self._kept) > MOST_TEXTS:
                self._kept.popitem(last=False)
        self._kept.move_to_end(text)
        return self._kept[text]

    def _encoded(self, text: str) -> torch.Tensor:
        embeds, _ = self._pipe.encode_prompt(
            text,
            do_classifier_free_guidance=False,
            max_sequence_length=MAX_SEQUENCE_LENGTH,
            device=self.device,
        )
        encoded: torch.Tensor = embeds.to(self._pipe.transformer.dtype)
        return encoded
