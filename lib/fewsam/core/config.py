"""Typed settings: a YAML preset from ``configs/`` with ``--conf key value`` strings on top."""

from __future__ import annotations

import difflib
import logging
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fewsam.core.errors import ConfigError
from fewsam.core.yamlfile import read_yaml

logger = logging.getLogger(__name__)

PRESET_DIR = Path(__file__).resolve().parent / "configs"

OLD_NAMES = {"labelled_slices": "absent_classes"}  # of settings, in earlier versions

MAX_LABELS, MAX_NAME = 255, 100  # as many as a labelmap of bytes holds, and as the collection takes

# Display windows (low, high) in Hounsfield units, as radiology work stations name them.
WINDOWS: dict[str, tuple[float, float]] = {
    "soft_tissue": (-160.0, 240.0),
    "wide": (-500.0, 500.0),
    "mediastinum": (-125.0, 275.0),
    "lung": (-1350.0, 150.0),
    "bone": (-450.0, 1050.0),
    "brain": (0.0, 80.0),
}


class Settings(BaseModel):
    """All settings of a run, with their defaults. An unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    # -- the task
    labels: tuple[str, ...] = ()
    # Classes first met in a submitted label: refuse it, take them too, or ("known") take the others and say so.
    new_labels: bool | Literal["known"] = False
    # What it means that a class is not drawn on a labelled slice: background (complete), nothing (partial), or
    # background where the label or an earlier one of the image draws the class on another slice (auto).
    absent_classes: Literal["auto", "complete", "partial"] = "auto"

    # -- preprocessing: part of every cache key through the pixels it produces
    axis: Literal["auto", "0", "1", "2"] = "auto"  # native axis cut into slices; auto = coarsest spacing
    intensity: Literal["auto", "window", "percentile", "full"] = "auto"
    window: tuple[float, float] = WINDOWS["soft_tissue"]
    percentiles: tuple[float, float] = (0.5, 99.5)
    channels: Literal["grey", "neighbours"] = "grey"
    # two or three registered sequences of one study, each a channel of the encoder; the first is listed and drawn on
    sequences: tuple[str, ...] = ()

    # -- the frozen encoder and its cache
    # LiteMedSAM's weights come with a package; compact takes over in a new task where they are missing
    encoder: Literal[
        "medsam_lite", "compact", "mobile_sam", "vit_b", "vit_l", "vit_h",
        "sam2.1_hiera_tiny", "sam2.1_hiera_small", "sam2.1_hiera_base_plus", "sam2.1_hiera_large",
    ] = "medsam_lite"  # fmt: skip
    # weights: a path, or a known name, which chooses the encoder too; None: the encoder's published ones
    checkpoint: Path | None = None
    untrained: bool = False  # the compact encoder with random weights, as a baseline
    whiten: bool = True  # medsam_lite: its features whitened; false: as its own decoder for boxes takes them
    engine: Literal["auto", "torch"] = "auto"  # on a CPU; auto: OpenVINO where it is installed
    # bfloat16: for processors that have it; LiteMedSAM's embeddings are 4 % off, and kept apart from float32's
    precision: Literal["float32", "bfloat16"] = "float32"
    download: bool = True
    input_size: int | None = Field(default=None, ge=64, le=1024, multiple_of=16)  # None: the encoder's own
    cache_gb: float = Field(default=8.0, gt=0, le=1e6)
    device: str = "auto"
    precompute: bool = True
    # of a server: how many processes segment, or the address of a Dask cluster; None: the server itself, two at a time
    workers: str | None = None

    # -- prompts and decoder: each line a switch that `fewsam evaluate` can ablate
    prompt_tokens: bool = True
    prototypes: int = Field(default=3, ge=1, le=8)  # per class, k-means
    dense_prompt: bool = True
    detail: bool = True
    # What the decoder's detail branch reads: the embedding beside the image, or the image alone. auto: the embedding,
    # but not that of an encoder with random weights, nor on slices of 64 pixels and less.
    decoder_reads: Literal["auto", "embedding", "image"] = "auto"
    detail_size: int | None = Field(default=None, ge=64, le=512, multiple_of=32)  # None: by the image
    retrieve: int = Field(default=8, ge=1, le=64)  # nearest supports shown to the decoder
    ensemble: int = Field(default=3, ge=1, le=8)  # support subsets at prediction; their spread is the uncertainty

    # -- training
    steps: int = Field(default=600, ge=1, le=10_000_000)
    batch: int | None = Field(default=None, ge=1, le=1024)  # slices of a step; None: by what the decoder reads
    learning_rate: float = Field(default=2e-3, gt=0, le=10)
    views: int = Field(default=12, ge=0, le=1000)  # cached augmented views of each labelled slice
    fresh_views: bool = False  # new views while training, an encoding each; cached ones get a fresh tone anyway
    train_seconds: float = Field(default=28.0, gt=0, le=1e7)  # so that a training is served within half a minute
    neighbours: bool = True  # the slices next to a drawn one, with its labels, are learnt from too
    keep_better: bool = True  # the served decoder stays where it did better on slices held back
    seed: int = Field(default=0, ge=0, lt=2**63)
    # off, every:N labels, or idle:SECONDS without a label; idle also learns from unlabelled images while nobody works
    auto_train: str = "off"

    # -- prediction
    propagate: bool = True  # drawn slices are carried to their neighbours by registration
    atlas: bool = True  # labelled slices of other images are registered to a slice, and have a vote
    smooth_z: bool = True
    presence_gate: bool = True
    largest_component: Literal["auto", "on", "off"] = "auto"  # auto: where that helped; of volumes islands go
    # seconds that Segment in the viewer waits for slices to be encoded; what is not encoded then is answered without
    # the encoder, marked, and answered again when all is encoded; none: it waits for all
    encode_wait: float | None = Field(default=5.0, gt=0)
    time_limit: float | None = Field(default=None, gt=0)  # seconds; a time-boxed request says what remains

    @field_validator("labels", mode="before")
    @classmethod
    def _split_labels(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, (list, tuple)) or any(isinstance(name, (list, dict, tuple)) for name in value):
            raise ValueError("expected names: liver,spleen,...")
        names = [str(name).strip() for name in value]
        if odd := [name for name in names if not (0 < len(name) <= MAX_NAME and name.isprintable())]:
            raise ValueError(f"a label name has 1 to {MAX_NAME} printable characters, {_shown(odd[0])} has not")
        if len(names) > MAX_LABELS:
            raise ValueError(f"{len(names)} labels are too many; {MAX_LABELS} fit a labelmap")
        folded = [name.casefold() for name in names]
        if len(set(folded)) != len(folded):
            raise ValueError(f"label names must differ in more than case: {names}")
        return tuple(names)

    @field_validator("sequences", mode="before")
    @classmethod
    def _split_sequences(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, (list, tuple)) or any(isinstance(name, (list, dict, tuple)) for name in value):
            raise ValueError("expected names: _t1,_t2,_flair")
        names = [str(name) for name in value]
        if len(names) not in (0, 2, 3) or len({name.casefold() for name in names}) != len(names):
            raise ValueError(f"expected two or three different names, such as _t1,_t2, got {_shown(value)}")
        return tuple(names)

    @field_validator("window", mode="before")
    @classmethod
    def _named_window(cls, value: Any) -> Any:
        if isinstance(value, str) and value in WINDOWS:
            return WINDOWS[value]
        return cls._pair(value, f"low,high or one of {', '.join(WINDOWS)}")

    @field_validator("percentiles", mode="before")
    @classmethod
    def _percentile_pair(cls, value: Any) -> Any:
        pair = cls._pair(value, "low,high in 0..100")
        if not 0 <= pair[0] < pair[1] <= 100:
            raise ValueError("needs 0 <= low < high <= 100")
        return pair

    @staticmethod
    def _pair(value: Any, expected: str) -> tuple[float, float]:
        try:
            parts = value.split(",") if isinstance(value, str) else list(value)
            low, high = (float(part) for part in parts)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"expected {expected}, got {_shown(value)}") from None
        if not (low < high and math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"low must be below high and both finite, got {_shown(value)}")
        return low, high

    @field_validator("workers", mode="before")
    @classmethod
    def _number_or_cluster(cls, value: Any) -> Any:
        text = str(value) if isinstance(value, int) else value
        if text is None or (isinstance(text, str) and (re.fullmatch("[1-9][0-9]{0,2}", text) or ":" in text)):
            return text
        raise ValueError(f"expected a number of processes or tcp://HOST:PORT, got {_shown(value)}")

    @field_validator("auto_train")
    @classmethod
    def _auto_train_rule(cls, value: str) -> str:
        kind, _, amount = value.partition(":")
        if value == "off" or (kind in ("every", "idle") and re.fullmatch("[0-9]{1,7}", amount) and int(amount) > 0):
            return value
        raise ValueError(f"expected off, every:N or idle:SECONDS, got {_shown(value)}")


def presets() -> list[str]:
    """Names of the presets shipped in ``configs/``."""
    return sorted(path.stem for path in PRESET_DIR.glob("*.yaml"))


def load_settings(preset: str | os.PathLike[str] | None = None, overrides: Mapping[str, Any] | None = None) -> Settings:
    """Settings of a preset (a name from ``configs/`` or a YAML file), then ``overrides`` on top.

    ``overrides`` may hold strings, as ``monailabel start_server --conf`` passes them.

    Raises:
        ConfigError: naming the unknown key or the value that does not fit, and what would.
    """
    kept, given = (
        {} if preset is None else with_current_names(_read_preset(preset)),
        with_current_names(overrides or {}),
    )
    values: dict[str, Any] = {**kept, **given}
    for key in values:
        if key not in Settings.model_fields:
            near = difflib.get_close_matches(str(key)[:100], Settings.model_fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(Settings.model_fields)}"
            where = "" if key in given else f" in {preset}"
            raise ConfigError(f"unknown setting {_shown(key)}{where}; {hint}")
    for key, value in values.items():
        if isinstance(value, str) and value.strip().casefold() in ("none", "null", ""):
            values[key] = (
                None if type(None) in getattr(Settings.model_fields[key].annotation, "__args__", ()) else value
            )
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        where = f" in {preset}" if key in kept and key not in given else ""
        raise ConfigError(f"setting {key!r} = {_shown(first['input'])}{where}: {message[:500]}") from None


def with_current_names(values: Mapping[str, Any], *, warn: bool = True) -> dict[str, Any]:
    """``values`` by the names that settings have now.

    Args:
        values: By name; earlier names are taken too.
        warn: Say which name is an earlier one. Not for files that nobody edits.

    Raises:
        ConfigError: one setting has two values, under its two names.
    """
    current = dict(values)
    for old, new in OLD_NAMES.items():
        if old in current:
            if current.get(new, current[old]) != current[old]:
                raise ConfigError(f"{old!r} is an earlier name of the setting {new!r}; give {new!r} alone")
            if warn:
                logger.warning("the setting %r is now called %r; the earlier name still works", old, new)
            current[new] = current.pop(old)
    return current


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def _read_preset(preset: str | os.PathLike[str]) -> dict[str, Any]:
    path = Path(preset)
    if path.suffix not in (".yaml", ".yml"):
        path = PRESET_DIR / f"{preset}.yaml"
    try:
        found = path.is_file()
    except OSError:  # a name longer than any file has
        found = False
    if not found:
        raise ConfigError(f"no preset {str(preset)!r}; shipped: {', '.join(presets())}, or give a .yaml file")
    values = read_yaml(path, "preset") or {}
    if not isinstance(values, dict):
        raise ConfigError(f"preset {path} must be a mapping of settings, not {type(values).__name__}")
    return values
