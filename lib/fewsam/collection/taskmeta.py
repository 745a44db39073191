"""The description in a task file, ``meta.json``, with every value within bounds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

FORMAT = 1
MAX_SIDE = 1 << 14
# What a task file carries of the settings. Paths, devices and budgets are the other installation's own business.
PIXEL_SETTINGS = ("axis", "intensity", "window", "percentiles", "channels", "sequences", "input_size")
TASK_FILE_SETTINGS = (
    *PIXEL_SETTINGS, "labels", "new_labels", "absent_classes", "encoder", "whiten", "precision", "prompt_tokens",
    "prototypes", "dense_prompt", "detail", "decoder_reads", "retrieve", "ensemble", "propagate", "atlas", "smooth_z",
    "presence_gate", "largest_component",
)  # fmt: skip

Name = Annotated[str, Field(min_length=1, max_length=100)]
Text = Annotated[str, Field(max_length=1000)]
Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
Spacing = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{1,128}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class EncoderMeta(_Part):
    """The encoder that made the embeddings; ``fingerprint`` must be that of the encoder that reads them."""

    name: Name
    input_size: int
    fingerprint: Hash
    checkpoint_sha256: Hash | None = None
    licence: Text = ""
    trained: bool = True
    parameters: int | None = None


class ShotMeta(_Part):
    """Where a labelled slice is from. ``image`` is a hash of the pixels: file names may tell who the patient is."""

    image: Hash
    slice: int = Field(ge=0)
    shape: tuple[Side, Side, Side]
    spacing: tuple[Spacing, Spacing, Spacing]
    annotator: Text = ""
    time: Text = ""
    source: Text = ""
    stats: dict[str, float] = {}


class TaskMeta(_Part):
    """``meta.json``. ``card`` is the decoder's `ModelCard`; slices in it are positions in ``shots``."""

    format: int
    fewsam: Text
    written: Text
    classes: tuple[Name, ...] = Field(min_length=1, max_length=255)
    encoder: EncoderMeta
    preprocessing: int  # PREPROCESS_VERSION
    settings: dict[str, Any]
    detail_size: int = Field(ge=64, le=512, multiple_of=32)
    card: dict[str, Any] | None = None
    shots: tuple[ShotMeta, ...] = Field(min_length=1, max_length=2000)
