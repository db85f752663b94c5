"""What a model's folder in a weight cache is called: operator, fetcher and people who fill one beforehand agree here.

The same source at the same commit has the same folder; another one never does.
"""

import hashlib
import re


def folder_name(source: str, commit: str = "") -> str:
    """A readable part and a hash.

    Example: hf://Wan-AI/Wan2.2-T2V-A14B-Diffusers at 5be7… → Wan2.2-T2V-A14B-Diffusers-1b2c3d4e5f60.
    """
    digest = hashlib.sha256(f"{source}@{commit}".encode()).hexdigest()[:12]
    last = re.sub("[^A-Za-z0-9_.-]", "-", source.rstrip("/").rpartition("/")[2]).strip(".-") or "model"
    return f"{last}-{digest}"
