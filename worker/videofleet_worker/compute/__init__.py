"""The compute process: the only place that imports torch, diffusers and transformers.

`entry` alone may be imported by the supervisor.
"""
