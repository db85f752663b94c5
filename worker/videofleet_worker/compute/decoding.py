"""A compute process that only decodes: latents that another worker's process has denoised become frames.

It holds the VAE and nothing else of the model. Invariant: the same bytes as the denoising process would make, on one
kind of device; what goes wrong with a clip is that clip's outcome, what breaks the device ends the process.
"""

import time
from collections.abc import Sequence
from pathlib import Path

import torch

from videofleet.beacons import WorkerState
from videofleet.jobs import Progress
from videofleet.tiers import Tier
from videofleet_worker import protocol
from videofleet_worker.compute import checkpoint
from videofleet_worker.compute.generate import frames_in_file
from videofleet_worker.compute.inbox import Inbox
from videofleet_worker.compute.loading import load_vae
from videofleet_worker.compute.making import JobStopped, Send, outcome_of


class Decoding:
    """The VAE on its device, and what is asked of it."""

    def __init__(self, start: protocol.Start, device: torch.device, inbox: Inbox, send: Send) -> None:
        """Loads. Raises: Fault."""
        self._spec = start.spec
        self._scratch = Path(start.scratch)
        self._device = device
        self._inbox = inbox
        self._send = send
        self._vae = load_vae(Path(start.model), start.spec, device)

    def warm(self) -> None:
        """Decodes noise of every tier, twice: the second time is the one that jobs will take. Raises: NotFinite."""
        for tier in self._spec.tiers:
            self._send(protocol.Starting(state=WorkerState.WARMING, detail=f"warming the decoder for {tier.name}"))
            path = self._scratch / f"warmup-{tier.name}.rgb"
            for _ in range(2):
                begun = time.perf_counter()
                frames = frames_in_file(self._vae, self._noise(tier), tier, path, lambda: None)
            self._send(
                protocol.TierWarmed(
                    tier=tier.name, runs=2, seconds_per_step=0.0, decode_s=time.perf_counter() - begun, frames=frames
                )
            )

    def make(self, works: Sequence[protocol.Work]) -> None:
        """Every clip to its outcome. Raises: what breaks the device."""
        for work in works:
            try:
                self._send(self._decoded(work))
            except torch.AcceleratorError:
                raise
            except Exception as error:  # of this clip
                self._send(outcome_of(work.job, error))

    def _decoded(self, work: protocol.Work) -> protocol.Generated:
        belongs_to = checkpoint.label(work.job, self._spec.revision, work.request)
        latents, seconds_per_step = checkpoint.latents_in(Path(work.resume_path or ""), belongs_to)
        steps = work.request.tier.num_inference_steps
        progress = Progress(stage="decoding", step=steps, steps=steps)

        def between() -> None:
            if self._inbox.stop_of(work.job):
                raise JobStopped
            self._send(protocol.Progressed(job=work.job, progress=progress))

        between()
        path = Path(work.frames_path)
        frames = frames_in_file(self._vae, latents.to(self._device), work.request.tier, path, between)
        return protocol.Generated(job=work.job, frames=frames, seconds_per_step=seconds_per_step)

    def _noise(self, tier: Tier) -> torch.Tensor:
        config = self._vae.config
        shape = (
            (tier.num_frames - 1) // config.scale_factor_temporal + 1,
            tier.height // config.scale_factor_spatial,
            tier.width // config.scale_factor_spatial,
        )
        return torch.randn(1, config.z_dim, *shape, generator=torch.Generator("cpu").manual_seed(0)).to(self._device)
