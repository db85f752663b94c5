"""`spec.model.speed`: steps that are not computed in full, by the caches of diffusers.

    exact      none
    balanced   First Block Cache: where the first block changes little from step to step, the other blocks are taken to
               change as little, and are skipped
    turbo      TaylorSeer: two steps of three are extrapolated from those computed before

Owns presets, the agreement of the ranks that share a sequence, and the end of what a cache remembers. Invariants:
`exact` lays nothing over an expert; what one job leaves in a cache is gone before the next job; ranks that meet inside
a block skip it together or not at all, because the one that entered alone would wait for ever.
MagCache is not offered: it needs ratios measured for each checkpoint and number of steps. What a cache knows is not in
checkpoints: a resumed job computes its next steps in full, so its video is not the uninterrupted one's to the bit.
"""

from typing import Any, Final

import torch
from diffusers import FirstBlockCacheConfig, TaylorSeerCacheConfig, WanPipeline, WanTransformer3DModel
from diffusers.hooks.first_block_cache import _FBC_LEADER_BLOCK_HOOK, FBCHeadBlockHook

from videofleet.workerspec import Speed
from videofleet_worker.compute.group import Group
from videofleet_worker.compute.parallel import experts_of

THRESHOLD: Final = 0.08  # relative change of the first block's residual; ParaAttention's, where this cache comes from
INTERVAL: Final = 3  # computed is every third step, once the expert has done its first three
_CONFIGS: Final[dict[Speed, Any]] = {
    Speed.BALANCED: FirstBlockCacheConfig(threshold=THRESHOLD),
    Speed.TURBO: TaylorSeerCacheConfig(
        cache_interval=INTERVAL,
        disable_cache_before_step=3,
        max_order=1,
        taylor_factors_dtype=torch.float32,
        use_lite_mode=True,  # only the output of the expert is kept, 19 MB at 1280×720×81
    ),
}


def lay_cache(expert: WanTransformer3DModel, speed: Speed, group: Group) -> None:
    """Before anything else is laid over the expert: diffusers' sequence split has to be outside of its caches."""
    if speed is Speed.EXACT:
        return
    expert.enable_cache(_CONFIGS[speed])
    if speed is Speed.BALANCED:
        _agree(expert.blocks[0]._diffusers_hook.get_hook(_FBC_LEADER_BLOCK_HOOK), group)  # noqa: SLF001 - no other way


def forget(pipe: WanPipeline) -> None:
    """Frees what the caches remember of a job, finished or not."""
    for model in experts_of(pipe):
        if model.is_cache_enabled:
            model._reset_stateful_cache()  # noqa: SLF001 - diffusers has no public way after an aborted run


def forget_at_hand_over(pipe: WanPipeline) -> None:
    """The high-noise expert's steps are over when the low-noise one is first called: only one has a cache at a time."""
    high_noise, low_noise = pipe.transformer, pipe.transformer_2
    if low_noise is not None and high_noise.is_cache_enabled:
        low_noise.register_forward_pre_hook(lambda *_: high_noise._reset_stateful_cache())  # noqa: SLF001 - as above


def _agree(hook: FBCHeadBlockHook, group: Group) -> None:
    """diffusers compares means of what the rank itself has; here sums of what all have, in an order-proof precision."""

    def must_compute(residual: torch.Tensor) -> bool:
        before = hook.state_manager.get_state().head_block_residual
        if before is None:
            return True
        sums = [tensor.abs().sum(dtype=torch.float64) for tensor in (residual - before, before)]
        change, size = group.add_up(torch.stack(sums)).tolist()
        return not change <= hook.threshold * size  # NaN is computed, and then found

    hook._should_compute_remaining_blocks = must_compute  # noqa: SLF001 - the decision that diffusers takes alone
