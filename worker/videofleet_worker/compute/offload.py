"""Weights that wait in host memory until their turn: whole components, or the blocks of an expert.

Invariant: only the place of a weight changes, never its bits. Nothing is offloaded to disk: diffusers names such files
by the module's path alone, so that a second expert would silently run with the first one's weights.
"""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import WanPipeline

from videofleet.workerspec import Offload
from videofleet_worker.compute.parallel import experts_of


class Turns:
    """Components that have the device one after another. The copy in host memory stays; nothing is written back."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._homes: dict[torch.nn.Module, list[tuple[torch.Tensor, torch.Tensor]]] = {}
        self.on_device: torch.nn.Module | None = None

    def add(self, component: torch.nn.Module, entrance: torch.nn.Module, *, moves: bool = True) -> None:
        """`component` has its turn when `entrance`, its first part to be called, is; some see to their own weights."""
        tensors = (*component.parameters(), *component.buffers()) if moves else ()
        self._homes[component] = [(tensor, tensor.data) for tensor in tensors]
        entrance.register_forward_pre_hook(self._calling(component))

    def call(self, component: torch.nn.Module) -> None:
        """The component's turn: it comes to the device, after the one before it has left."""
        if self.on_device is component:
            return
        if self.on_device is not None:
            for tensor, home in self._homes[self.on_device]:
                tensor.data = home
        for tensor, home in self._homes[component]:
            tensor.data = home.to(self._device, copy=True)
        self.on_device = component

    def _calling(self, component: torch.nn.Module) -> Callable[..., None]:
        def call(*_: Any) -> None:
            self.call(component)

        return call


def take_turns(pipe: WanPipeline, device: torch.device, offload: Offload) -> Turns:
    """Lays the offload over a pipeline in host memory; of a rank that only denoises it is the experts."""
    turns = Turns(device)
    if pipe.text_encoder is not None:
        turns.add(pipe.text_encoder, pipe.text_encoder)
    if pipe.vae is not None:
        turns.add(pipe.vae, pipe.vae.post_quant_conv)
    for model in experts_of(pipe):
        turns.add(model, model, moves=offload is Offload.MODEL)
        if offload is Offload.GROUP:
            model.enable_group_offload(
                onload_device=device,
                offload_device=torch.device("cpu"),
                offload_type="block_level",
                num_blocks_per_group=1,
                use_stream=device.type == "cuda",
            )
    return turns
