"""Latents to frames, one latent frame at a time, so that a clip is never held as float32.

Invariant: the same bytes as WanPipeline with output_type="np", scaled to 0–255 and rounded. The causal convolutions'
memory lives here, not on the VAE, so that nothing of a stopped job is left behind.
"""

from collections.abc import Iterator

import numpy as np
import torch
from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d, unpatchify

from videofleet_worker.compute.denoise import NotFinite


@torch.no_grad()  # type: ignore[untyped-decorator]  # torch's types are not followed
def decoded_frames(vae: AutoencoderKLWan, latents: torch.Tensor) -> Iterator[np.ndarray]:
    """Yields uint8 arrays of shape (1 or 4, height, width, 3). Raises: NotFinite."""
    hidden = vae.post_quant_conv(_unscaled(vae, latents))
    memory: list[torch.Tensor | None] = [None] * sum(isinstance(m, WanCausalConv3d) for m in vae.decoder.modules())
    for index in range(hidden.shape[2]):
        chunk = vae.decoder(hidden[:, :, index : index + 1], feat_cache=memory, feat_idx=[0], first_chunk=index == 0)
        if vae.config.patch_size is not None:
            chunk = unpatchify(chunk, patch_size=vae.config.patch_size)
        if not torch.isfinite(chunk.sum()):
            raise NotFinite(f"NaN or infinity in the frames decoded from latent frame {index + 1} (vae)")
        yield _uint8(chunk)


def _unscaled(vae: torch.nn.Module, latents: torch.Tensor) -> torch.Tensor:
    latents = latents.to(vae.dtype)
    shape = (1, vae.config.z_dim, 1, 1, 1)
    mean = torch.tensor(vae.config.latents_mean).view(shape).to(latents)
    inverse_std = 1.0 / torch.tensor(vae.config.latents_std).view(shape).to(latents)
    return latents / inverse_std + mean


def _uint8(chunk: torch.Tensor) -> np.ndarray:
    """(1, 3, n, h, w) in [-1, 1] → (n, h, w, 3) in 0–255, rounded as diffusers does."""
    unit = (chunk[0].clamp(-1.0, 1.0) * 0.5 + 0.5).clamp(0, 1)
    pixels: np.ndarray = (unit.permute(1, 2, 3, 0) * 255).round().to(torch.uint8).contiguous().cpu().numpy()
    return pixels
