"""Loaded before any test module, whatever the order of its imports."""

import fewsam  # noqa: F401  test modules import segment_anything above fewsam, which makes torchvision importable
