"""fewsam: few-shot SAM segmentation of medical images, in a real annotation loop."""

from fewsam.core import (
    _torchvision as _torchvision,  # torchvision, whoever imports it later, works beside a CPU-only torch
)

__version__ = "0.1.0"
