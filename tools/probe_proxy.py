"""Mean IoU of the linear probe on development scans, by encoder: the quick look that encoders are judged by.

    python tools/probe_proxy.py untrained own.safetensors           # random weights, and a file of trained ones
    python tools/probe_proxy.py medsam_lite medsam_lite:plain       # whitened as it is used, and its output as it is

Scans are read from FEWSAM_SHARED_DATA or ../shared/data; no weight is ever trained on them. Slices of one volume: K
evenly spread slices of 30 (CT) or 20 (MR), the others tested. Across patients: two draws of three volumes with two or
five slices each (heart, hippocampus), or of five images (chest X-rays, spleen), the other patients tested. The heart
needs h5py.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from fewsam.core.config import load_settings
from fewsam.encoders import sam
from fewsam.encoders.build_compact import build_compact
from fewsam.encoders.compact import INPUT_SIZE
from fewsam.encoders.tinyvit import build_tinyvit
from fewsam.fewshot.model.prompts import LabelledView, SupportBank
from fewsam.images.frame import Frame, make_frame
from fewsam.images.labelfile import read_label
from fewsam.images.preprocess import Intensity, choose_intensity, image_stats, to_uint8
from fewsam.images.volume import load_volume

DATA = Path(os.environ.get("FEWSAM_SHARED_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
CT = {5: "liver", 1: "spleen", 2: "kidney_right", 3: "kidney_left", 52: "aorta", 31: "L1", 6: "stomach", 20: "colon"}
MR = {5: "liver", 1: "spleen", 2: "kidney_right", 3: "kidney_left", 6: "stomach", 23: "aorta", 19: "vertebrae"}
EVERY = 5  # of a hippocampus' slices, one is tested


@dataclass(frozen=True)
class Case:
    """One volume: uint8 (Z, 3, S, S), truth bool (Z, C, H, W)."""

    slices: np.ndarray
    truth: np.ndarray
    frame: Frame


def read_case(image: Path, label: Path, names: dict[int, str]) -> Case:
    """A volume in a format that fewsam reads."""
    volume = load_volume(image)
    found = read_label(label, volume.geometry, names={v: names.get(v, f"other {v}") for v in range(1, 200)})
    empty = np.zeros(volume.slices.shape[:3], bool)
    frame = make_frame(volume.geometry.slices_shape, volume.geometry.spacing, INPUT_SIZE)
    raw = np.stack([volume.raw_slice(z) for z in range(volume.depth)])
    slices = to_uint8(raw, choose_intensity(image_stats(volume), load_settings()), frame, "grey")
    return Case(slices, np.stack([found.get(name, empty) for name in names.values()], 1), frame)


def array_case(pixels: np.ndarray, truth: np.ndarray, low: float, high: float) -> Case:
    """Slices (Z, H, W) of square pixels."""
    frame = make_frame(pixels.shape, (1, 1, 1), INPUT_SIZE)
    raw = np.repeat(pixels[:, None], 3, 1)
    return Case(to_uint8(raw, Intensity(low, high), frame, "grey"), truth, frame)


def read_sets() -> dict[str, list[Case]]:
    """All development sets that are there."""
    ct, mr, part = DATA / "ts_ct_abdomen", DATA / "ts_mr_abdomen", DATA / "msd_hippocampus"
    sets = {
        "ct": [read_case(ct / "example_ct_sm.nii.gz", ct / "example_seg.nii.gz", CT)],
        "mr": [read_case(mr / "example_mr_sm.nii.gz", mr / "example_seg_mr.nii.gz", MR)],
        "hippocampus": [
            read_case(path, part / "labels" / path.name, {1: "anterior", 2: "posterior"})
            for path in sorted((part / "images").glob("*.nii.gz"))[:8]
        ],
        "cxr": [_picture(path) for path in sorted((DATA / "cxr_lungs/images").glob("*.jpg"))],
        "spleen": [_picture(path) for path in sorted((DATA / "msd_ct_spleen_2d/images").glob("*.jpg"))],
    }
    try:
        import h5py
    except ImportError:
        print("h5py is not installed: no heart", file=sys.stderr)
        return sets
    sets["heart"] = []
    for path in sorted((DATA / "acdc_mr_heart").glob("*.h5")):
        with h5py.File(path) as file:
            image, label = file["image"][:], file["label"][:]
        low, high = np.percentile(image, 0.5), np.percentile(image, 99.5)
        sets["heart"].append(array_case(image, np.stack([label == v for v in (1, 2, 3)], 1), low, high))
    return sets


def _picture(path: Path) -> Case:
    mask = path.parents[1] / "masks" / path.name
    if not mask.exists():
        mask = next(mask.parent.glob(f"{path.stem}*"))
    truth = np.asarray(Image.open(mask).convert("L"))[None, None] > 127
    return array_case(np.asarray(Image.open(path).convert("L"))[None], truth, 0.0, 255.0)


def spread(count: int, k: int) -> list[int]:
    """K of ``count`` places, evenly."""
    return sorted({round((i + 0.5) * count / k - 0.5) for i in range(k)})


def draws(sets: dict[str, list[Case]]) -> list[tuple[str, str, dict[int, int]]]:
    """Name, set, and how many slices of which cases are labelled."""
    found = [(f"{name} K={k}", name, {0: k}) for name in ("ct", "mr") for k in (3, 5)]
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        for name, title, cases, each in (
            ("hippocampus", "hippocampus 3 x 5", 3, 5),
            ("heart", "heart 3 x 2", 3, 2),
            ("heart", "heart 3 x 5", 3, 5),
            ("cxr", "cxr 5 x 1", 5, 1),
            ("spleen", "spleen 5 x 1", 5, 1),
        ):
            if name in sets:
                found.append((title, name, {int(i): each for i in rng.permutation(len(sets[name]))[:cases]}))
    return found


def labelled(case: Case, k: int, whole: bool) -> list[int]:
    """Which slices are labelled: of all, or of those that show something."""
    shown = np.arange(len(case.slices)) if whole else np.flatnonzero(case.truth.any((1, 2, 3)))
    return [int(shown[i]) for i in spread(len(shown), k)]


@torch.no_grad()
def evaluate(network: nn.Module, sets: dict[str, list[Case]]) -> dict[str, float]:
    """Mean IoU of each draw's name."""
    scores: dict[str, list[float]] = {}
    for title, name, chosen in draws(sets):
        cases, whole = sets[name], name in ("ct", "mr")
        views, shot = [], 0
        support = {index: labelled(cases[index], k, whole) for index, k in chosen.items()}
        for index, slices in support.items():
            case = cases[index]
            for z, embedding in zip(slices, embed(network, case, slices), strict=True):
                drawn = torch.as_tensor(case.frame.to_square(case.truth[z].astype(np.float32), 64)).float()
                mask = torch.cat([1 - drawn.sum(0, keepdim=True).clamp(0, 1), drawn])
                known = torch.ones(len(mask), dtype=torch.bool)
                views.append(LabelledView(shot, embedding, mask, known, z / max(1, len(case.slices) - 1)))
                shot += 1
        bank = SupportBank(views)
        inter = union = np.zeros(1)
        for index, case in enumerate(cases):
            if index in support and not whole:
                continue
            step = EVERY if name == "hippocampus" else 1
            tested = [z for z in range(0, len(case.slices), step) if z not in support.get(index, [])]
            place = torch.tensor([z / max(1, len(case.slices) - 1) for z in tested])
            with torch.enable_grad():
                found = bank.probe(embed(network, case, tested), place, torch.arange(len(bank)))
            for z, logits in zip(tested, found, strict=True):
                winner = torch.as_tensor(case.frame.to_slice(logits.exp())).argmax(0).numpy()
                drawn = np.stack([winner == c + 1 for c in range(case.truth.shape[1])])
                inter = inter + (drawn & case.truth[z]).sum((1, 2))
                union = union + (drawn | case.truth[z]).sum((1, 2))
        scores.setdefault(title, []).append(float((inter / np.maximum(union, 1)).mean()))
    return {title: round(float(np.mean(values)), 3) for title, values in scores.items()}


@torch.no_grad()
def embed(network: nn.Module, case: Case, slices: list[int]) -> torch.Tensor:
    """(n, 256, 64, 64) of some slices."""
    return torch.cat([network(torch.from_numpy(case.slices[[z]]).float()) for z in slices])


def build(argument: str) -> nn.Module:
    """The encoder that an argument names; all take 256 px."""
    if not argument.startswith("medsam_lite"):
        return build_compact(None if argument == "untrained" else Path(argument)).eval()
    path = sam.OFFICIAL["medsam_lite"].path()
    return build_tinyvit(sam.read_sam_checkpoint(path), str(path), whiten=argument != "medsam_lite:plain")


if __name__ == "__main__":
    if not DATA.is_dir():
        sys.exit(f"no development scans at {DATA}: set FEWSAM_SHARED_DATA")
    loaded = read_sets()
    for argument in sys.argv[1:] or ["untrained"]:
        print(argument, json.dumps(evaluate(build(argument), loaded)), flush=True)
