"""MONAI Label's batch inference, on machines without a GPU too."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from monailabel.interfaces.datastore import Datastore
from monailabel.interfaces.tasks.batch_infer import BatchInferTask

from fewsam.core.errors import FewSAMError

logger = logging.getLogger(__name__)


class BatchInfer(BatchInferTask):
    """Segments all images, one after the other.

    The stock class divides by the number of GPUs, and ends at the first image that cannot be read.
    """

    def __call__(self, request: Mapping[str, Any], datastore: Datastore, infer: Callable[..., Any]) -> Any:
        def one(image_request: Mapping[str, Any], store: Datastore) -> dict[str, Any]:
            try:
                return dict(infer(image_request, store))
            except FewSAMError as error:
                logger.warning("image %s was left out: %s", image_request.get("image"), error)
                return {"error": str(error)}

        if not torch.cuda.is_available():
            request = {**request, "multi_gpu": False, "device": "cpu"}
        return super().__call__(request, datastore, one)
