"""SAM with its own prompts: points and boxes taken from the truth of the very slice that is segmented.

That makes them no rivals on equal terms but the other way to use SAM: every slice and structure prompted by hand,
without a labelled slice. Slices without the structure get no prompt, so SAM cannot be wrong there. The image
embeddings are the cached ones; prompts and masks go through segment-anything's own predictor.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage

from fewsam.core.class_values import values_by_name
from fewsam.core.config import Settings
from fewsam.core.errors import ConfigError
from fewsam.encoders import sam_decoder_state
from fewsam.encoders.slices import EncoderSlices
from fewsam.encoders.tinyvit import VARIANTS
from fewsam.evaluation.methods.interface import Method, MethodInput, MethodOutput, Predict
from fewsam.images.frame import Frame, make_frame

SIDE = 1024  # of the square in whose pixels SAM's prompts are given

Click = tuple[float, float, int]  # row, col on the slice; 1 inside, 0 outside


class Prompted:
    """segment-anything's predictor on cached embeddings of slices that share a frame."""

    def __init__(self, settings: Settings, frame: Frame, device: torch.device | str = "cpu") -> None:
        from segment_anything import SamPredictor, sam_model_registry

        state = sam_decoder_state(settings)
        if state is None:
            raise ConfigError(
                "SAM's prompts need a SAM checkpoint with its decoder: set encoder to vit_b, vit_l or "
                "vit_h (and checkpoint to a local file), to mobile_sam, or to medsam_lite with whiten set to false"
            )
        with torch.device("meta"):  # its encoder is not run here
            # MobileSAM's and LiteMedSAM's decoder and prompts are SAM's own, the same for every size of the encoder
            sam = sam_model_registry["vit_b" if settings.encoder in VARIANTS else settings.encoder]()
        sam.load_state_dict({name: value.to(device) for name, value in state.items()}, strict=False, assign=True)
        sam.pixel_mean = torch.zeros(3, 1, 1, device=device)  # what tells the predictor its device
        self.predictor = SamPredictor(sam.eval())
        self.frame = frame
        h, w = (round(n * SIDE / frame.size) for n in frame.content)
        self.content = (min(h, SIDE), min(w, SIDE))

    def look_at(self, embedding: torch.Tensor) -> None:
        """Take the embedding (256, 64, 64) of a slice instead of encoding it."""
        predictor: Any = self.predictor
        predictor.features = embedding[None]
        predictor.original_size = predictor.input_size = self.content
        predictor.is_image_set = True

    def logits(
        self, clicks: list[Click] | None = None, box: tuple[int, int, int, int] | None = None, before: Any = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mask logits (H, W) of the slice, and the low-resolution ones (1, 256, 256) to refine.

        Args:
            box: first and last row and column, (row, col, row, col).
        """
        points = labels = corners = None
        if clicks:
            points = np.array([self._place(row + 0.5, col + 0.5) for row, col, _ in clicks])
            labels = np.array([inside for *_, inside in clicks])
        if box:
            corners = np.concatenate([self._place(box[0], box[1]), self._place(box[2] + 1, box[3] + 1)])
        masks, _, low = self.predictor.predict(points, labels, corners, before, False, True)
        h, w = self.content
        square = F.pad(torch.from_numpy(masks), (0, SIDE - w, 0, SIDE - h), mode="replicate")
        return self.frame.to_slice(square)[0].numpy(), low

    def _place(self, row: float, col: float) -> np.ndarray:
        """(x, y) in SAM's pixels."""
        (h, w), (rows, cols) = self.content, self.frame.source
        return np.array([col * w / cols, row * h / rows])


def centre(mask: np.ndarray) -> tuple[int, int]:
    """Row and column of the pixel of a bool array (H, W) that lies deepest inside it."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, col = np.unravel_index(int(depth.argmax()), mask.shape)
    return int(row), int(col)


def inner_points(mask: np.ndarray, count: int) -> list[Click]:
    """The centre of ``mask`` (H, W), then points inside it, each the one farthest from those before and the edge."""
    depth = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    points: list[Click] = []
    worth = depth
    while len(points) < min(count, int(mask.sum())):
        row, col = (int(n) for n in np.unravel_index(int(worth.argmax()), mask.shape))
        points.append((row, col, 1))
        taken = np.ones(mask.shape, bool)
        taken[tuple(np.array([point[:2] for point in points], int).T)] = False
        worth = np.where(mask & taken, np.minimum(ndimage.distance_transform_edt(taken), 2 * depth), 0)
        if not worth.any():
            break
    return points


def correction(found: np.ndarray, truth: np.ndarray) -> Click | None:
    """Where somebody would click next: the centre of the largest wrong region (H, W), inside or outside; None where
    nothing is wrong."""
    best: tuple[int, np.ndarray, int] | None = None
    for wrong, inside in ((truth & ~found, 1), (found & ~truth, 0)):
        regions, count = ndimage.label(wrong)
        if count:
            sizes = np.bincount(regions.ravel())[1:]
            largest = int(sizes.argmax())
            if best is None or sizes[largest] > best[0]:
                best = (int(sizes[largest]), regions == largest + 1, inside)
    return None if best is None else (*centre(best[1]), best[2])


def by_points(sam: Prompted, truth: np.ndarray, count: int) -> np.ndarray:
    """Logits (H, W) for ``count`` points inside the truth, given at once."""
    return sam.logits(inner_points(truth, count))[0]


def by_clicks(sam: Prompted, truth: np.ndarray, count: int) -> np.ndarray:
    """Logits (H, W) after the centre and ``count - 1`` corrections, each in view of the mask so far."""
    clicks: list[Click] = [(*centre(truth), 1)]
    logits, low = sam.logits(clicks)
    while len(clicks) < count and (click := correction(logits > 0, truth)):
        clicks.append(click)
        logits, low = sam.logits(clicks, before=low)
    return logits


def by_box(sam: Prompted, truth: np.ndarray) -> np.ndarray:
    """Logits (H, W) for the truth's bounding box."""
    rows, cols = np.flatnonzero(truth.any(axis=1)), np.flatnonzero(truth.any(axis=0))
    return sam.logits(box=(int(rows[0]), int(cols[0]), int(rows[-1]), int(cols[-1])))[0]


def _method(ask: Callable[[Prompted, np.ndarray], np.ndarray], given: MethodInput) -> Predict:
    settings, values = given.settings, values_by_name(given.collection.classes)

    def predict(index: int) -> MethodOutput:
        case = given.cases[index]
        slices = EncoderSlices(case.volume, settings, given.embedder)
        sam = Prompted(settings, slices.frame, given.embedder.device)
        labelmap = np.zeros(case.volume.slices.shape[:3], np.uint8)
        for z in given.draw.tested[index]:
            shown = {name: mask[z] for name, mask in case.truth.items() if mask[z].any()}
            if not shown:
                continue
            sam.look_at(given.embedder.tensor(slices.inputs(slices.raw([z])))[0])
            highest = np.zeros(labelmap.shape[1:], np.float32)  # what is below zero is background
            for name, mask in shown.items():
                logits = ask(sam, mask)
                wins = logits > highest
                labelmap[z][wins] = values[name]
                highest = np.maximum(highest, logits)
        return MethodOutput(labelmap)

    Prompted(settings, make_frame((1, 8, 8), (1.0, 1.0, 1.0), given.embedder.info.input_size))  # refuse before the work
    return predict


METHODS: dict[str, Method] = {
    **{f"sam-points-{n}": partial(_method, partial(by_points, count=n)) for n in (1, 3, 5)},
    **{f"sam-clicks-{n}": partial(_method, partial(by_clicks, count=n)) for n in (3, 5)},
    "sam-box": partial(_method, by_box),
}
