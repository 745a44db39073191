"""Prompts until a slice is right, ours from the few-shot answer and SAM's from nothing: clicks to a Dice of 0.9.

    python tools/prompt_study.py --sam checkpoints/mobile_sam.safetensors --slices 6 --out prompts.json

Scans are read from FEWSAM_SHARED_DATA or ../shared/data. On tested slices of each task every structure is corrected
alone, by one who sees the truth: each prompt is set at the middle of the largest wrong region, until the Dice is 0.9 or
ten prompts are spent (which counts as eleven). Ours starts from the few-shot answer before any training, with clicks or
with scribbles; SAM starts from a click in the middle, or from the truth's box and goes on with clicks.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from collections.abc import Collection as Items
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

from fewsam.core.config import PRESET_DIR, Settings, load_settings
from fewsam.core.metrics import dice
from fewsam.encoders.slices import EncoderSlices, embed_volume
from fewsam.evaluation.cell import collect
from fewsam.evaluation.data.cases import Case, load_cases
from fewsam.evaluation.data.sampling import draw
from fewsam.evaluation.data.tasks import Task, load_tasks, task_root
from fewsam.evaluation.methods.sam_prompts import Prompted, centre, correction
from fewsam.fewshot.inference.corrections import Corrections
from fewsam.fewshot.inference.prompts import Prompt
from fewsam.fewshot.inference.spreading import Change
from fewsam.workspace.workspace import Workspace

GOAL, MOST, LEAST = 0.9, 10, 40  # Dice, prompts, and pixels of a structure that is looked at
TASKS = ("ts-ct-abdomen", "ts-mr-abdomen", "acdc-heart")

Mask = np.ndarray  # bool (H, W)
Answer = Callable[[Mask], Mask]  # the next mask, in view of the one so far


def prompts_needed(start: Mask, truth: Mask, answer: Answer) -> tuple[int, list[float]]:
    """How many prompts until the goal (`MOST` + 1 where it is not reached), and the Dice before and after each."""
    mask, curve = start, [dice(start, truth)]
    while curve[-1] < GOAL and len(curve) <= MOST:
        mask = answer(mask)
        curve.append(dice(mask, truth))
    return (len(curve) - 1 if curve[-1] >= GOAL else MOST + 1), curve


def scribble(wrong: Mask) -> tuple[tuple[int, int], ...]:
    """A short line along the long axis of a region, well inside it."""
    deep = ndimage.distance_transform_edt(np.pad(wrong, 1))[1:-1, 1:-1]
    inside = np.argwhere(deep >= 0.5 * deep.max())
    middle = np.array(centre(wrong))
    parts, _ = ndimage.label(deep >= 0.5 * deep.max(), np.ones((3, 3)))
    inside = inside[parts[tuple(inside.T)] == parts[tuple(middle)]]
    axis = (
        np.linalg.svd(inside - inside.mean(0), full_matrices=False)[2][0] if len(inside) > 2 else np.array([0.0, 1.0])
    )
    along = (inside - middle) @ axis
    ends = inside[[along.argmin(), along.argmax()]]
    return tuple((int(row), int(col)) for row, col in (ends[0], middle, ends[1]))


@dataclass
class Ours:
    """Corrections of a structure on slice ``z``, from what is shown of it, bool (Z, H, W)."""

    corrections: Corrections
    case: Case
    z: int
    name: str
    shown: np.ndarray
    kind: str
    prompts: list[Prompt] = field(default_factory=list)

    def __call__(self, mask: Mask) -> Mask:
        """The next mask, in view of the one so far."""
        truth, z = self.case.truth[self.name][self.z], self.z
        click = correction(mask, truth)
        assert click is not None
        row, col, include = click
        points: tuple[tuple[int, int], ...] = ((row, col),)
        if self.kind == "scribble":
            wrong = truth & ~mask if include else mask & ~truth
            points = scribble(ndimage.label(wrong)[0] == ndimage.label(wrong)[0][row, col])
        self.prompts.append(Prompt("scribble" if self.kind == "scribble" else "point", z, bool(include), points))
        change = self._changes(propagate=False)[z]
        return (self.shown[z] | change.added) & ~change.removed

    def propagated(self, drawn: Items[int]) -> list[list[float]]:
        """Dice before and after, of each slice that the prompts were propagated to."""
        found = []
        for at, change in self._changes(propagate=True, drawn=drawn).items() if self.prompts else ():
            if at != self.z and change.any:
                truth, before = self.case.truth[self.name][at], self.shown[at]
                after = (before | change.added) & ~change.removed
                found.append([round(dice(before, truth), 3), round(dice(after, truth), 3)])
        return found

    def _changes(self, propagate: bool, drawn: Items[int] = ()) -> dict[int, Change]:
        return self.corrections.correct(
            self.case.volume, self.name, self.prompts, self.shown, drawn=drawn, propagate=propagate
        )


def sams(sam: Prompted, embedding: torch.Tensor, truth: Mask, box: bool) -> Answer:
    """SAM's own prompts on a slice."""
    clicks: list[Any] = []
    low: Any = None
    rows, cols = np.flatnonzero(truth.any(1)), np.flatnonzero(truth.any(0))
    corners = (int(rows[0]), int(cols[0]), int(rows[-1]), int(cols[-1])) if box else None

    def answer(mask: Mask) -> Mask:
        nonlocal low
        first = low is None
        if not (first and box):
            clicks.append((*centre(truth), 1) if first else correction(mask, truth))
        sam.look_at(embedding)
        logits, low = sam.logits(clicks or None, corners, before=low)
        return logits > 0

    return answer


def study(
    task: Task, root: Path, settings: Settings, sam_settings: Settings, slices: int, k: int, around: int
) -> list[dict]:
    """A row for each structure, slice and way of prompting."""
    cases = load_cases(task, root, str(task.settings.get("axis", settings.axis)))
    settings = load_settings(None, {**settings.model_dump(), **task.settings, "labels": list(cases[0].truth)})
    picked = draw(cases, task, k, 0, "random", lambda case: embed_volume(case.volume, settings, workspace.embedder))
    rows = []
    with tempfile.TemporaryDirectory(prefix="fewsam-prompts-") as name:
        workspace = Workspace(settings, Path(name))
        collect(cases, picked, Path(name)).close()
        sam_workspace = Workspace(sam_settings, Path(name) / "sam")
        corrections = Corrections(workspace.clicks)
        index = next(iter(picked.tested))
        case, tested = cases[index], picked.tested[index]
        tested = [z for z in tested if any(mask[z].sum() >= LEAST for mask in case.truth.values())]
        chosen = [tested[round(n)] for n in np.linspace(0, len(tested) - 1, min(slices, len(tested)))]
        near = [z + step for z in chosen for step in range(-around, around + 1)]
        wanted = sorted({z for z in near if 0 <= z < case.volume.depth})
        found = workspace.predictor.predict(case.volume, f"case{index}", slices=wanted)
        stay = {*range(case.volume.depth)} - {*wanted} | {*picked.labelled.get(index, ())}
        sam_slices = EncoderSlices(case.volume, sam_settings, sam_workspace.embedder)
        sam = Prompted(sam_settings, sam_slices.frame)
        for z in dict.fromkeys(chosen):
            embedding = torch.from_numpy(sam_slices.embed([z])).float()[0]
            for value, structure in enumerate(found.classes, start=1):
                truth = case.truth[structure][z]
                if truth.sum() < LEAST:
                    continue
                shown, nothing = found.labelmap == value, np.zeros_like(truth)
                ways = {
                    "few-shot, clicks": (shown[z], Ours(corrections, case, z, structure, shown, "point")),
                    "few-shot, scribbles": (shown[z], Ours(corrections, case, z, structure, shown, "scribble")),
                    "SAM, clicks": (nothing, sams(sam, embedding, truth, box=False)),
                    "SAM, box and clicks": (nothing, sams(sam, embedding, truth, box=True)),
                }
                for way, (start, answer) in ways.items():
                    began = time.monotonic()
                    needed, curve = prompts_needed(start, truth, answer)
                    seconds = (time.monotonic() - began) / max(1, len(curve) - 1)
                    curve = [round(one, 3) for one in curve]
                    propagated = answer.propagated(stay) if around and isinstance(answer, Ours) else []
                    rows.append(
                        {"task": task.name, "structure": structure, "slice": int(z), "way": way, "prompts": needed,
                         "dice": curve, "seconds": round(seconds, 3), "propagated": propagated}
                    )  # fmt: skip
        workspace.close()
        sam_workspace.close()
    return rows


def table(rows: Sequence[dict]) -> list[str]:
    """Markdown: mean prompts, the share that reached the goal, and the Dice at the start and after one prompt."""
    lines = [
        "| task | way | slices | prompts to 0.9 | reached | Dice at first | after 1 | after 3 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task in dict.fromkeys(row["task"] for row in rows):
        for way in dict.fromkeys(row["way"] for row in rows):
            mine = [row for row in rows if row["task"] == task and row["way"] == way]
            at = [np.mean([row["dice"][min(n, len(row["dice"]) - 1)] for row in mine]) for n in (0, 1, 3)]
            reached = np.mean([row["prompts"] <= MOST for row in mine])
            mean = np.mean([row["prompts"] for row in mine])
            lines.append(
                f"| {task} | {way} | {len(mine)} | {mean:.1f} | {100 * reached:.0f} % | "
                + " | ".join(f"{v:.3f}" for v in at)
                + " |"
            )
    moved = [pair for row in rows for pair in row["propagated"]]
    if moved:
        before, after = np.mean(moved, axis=0)
        better = np.mean([b > a for a, b in moved])
        share = f"better on {100 * better:.0f} %"
        lines.append(f"Propagated to {len(moved)} slices: Dice {before:.3f} before, {after:.3f} after, {share}")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sam", required=True, type=Path, help="checkpoint of MobileSAM's architecture")
    parser.add_argument("--encoder", default="medsam_lite", help="of the few-shot answer")
    parser.add_argument("--slices", type=int, default=6, help="tested slices of each task")
    parser.add_argument("--k", type=int, default=3, help="labelled slices")
    parser.add_argument("--around", type=int, default=0, help="slices on either side that a change is propagated to")
    parser.add_argument("--tasks", nargs="*", default=TASKS)
    parser.add_argument("--out", type=Path, default=Path("prompts.json"))
    given = parser.parse_args()
    listed = PRESET_DIR / "evaluate" / "shared-all.yaml"
    settings = load_settings(None, {"encoder": given.encoder})
    sam_settings = load_settings(None, {"encoder": "mobile_sam", "checkpoint": str(given.sam)})
    rows: list[dict] = []
    for task, root in load_tasks(listed, task_root(listed, None)):
        if task.name in given.tasks:
            rows += study(task, root, settings, sam_settings, given.slices, given.k, given.around)
            given.out.write_text(json.dumps(rows, indent=1))
            print("\n".join(table(rows)), flush=True)


if __name__ == "__main__":
    main()
