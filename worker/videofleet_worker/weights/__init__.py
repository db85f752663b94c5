"""Weights on their way from a source to a sealed folder on a volume. Torch-free; runs before the worker does."""
