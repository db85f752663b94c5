"""Imported by the fork server, so that a compute process starts with torch and diffusers in memory (0.25 s, not 3.4 s).

Must not touch a GPU: a CUDA context does not survive a fork.
"""

import os
import signal

# diffusers asks for devices while it is imported; by NVML that makes no CUDA context.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TRANSFORMERS_OFFLINE", "1")

# Who stops the group of the pod's processes means the supervisor; compute ends when the supervisor lets it go.
signal.signal(signal.SIGTERM, signal.SIG_IGN)

from videofleet_worker.compute import process  # noqa: E402, F401 - after the environment that it reads
