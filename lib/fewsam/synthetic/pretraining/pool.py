"""A pool of phantom patients as tissue volumes, made once: painting one takes seconds, rendering it milliseconds.

A patient is stored as uint8 ``(Z, H, W)`` of `Tissue` values in radiological view (rows to the back, columns to the
patient's left), and the structures that tissue alone does not tell (left and right kidney, vertebrae) beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fewsam.synthetic.phantom import Tissue, generate_patient

POOL_VERSION = 1  # raise with every change of what is stored, the phantom's anatomy included
SEED = 20_000  # of the patients; far from the seeds of anybody's sample data

# Structures of the torso that an episode may ask for, by tissue.
_GROUPS: tuple[tuple[Tissue, ...], ...] = (
    (Tissue.LIVER, Tissue.HEPATIC_VEIN, Tissue.PORTAL_VEIN),
    (Tissue.SPLEEN,),
    (Tissue.STOMACH_WALL, Tissue.STOMACH_FLUID),
    (Tissue.BOWEL_WALL, Tissue.CHYME, Tissue.STOOL),
    (Tissue.GALLBLADDER,),
    (Tissue.PANCREAS,),
    (Tissue.AORTA,),
    (Tissue.CAVA,),
    (Tissue.MYOCARDIUM,),
    (Tissue.LEFT_HEART,),
    (Tissue.RIGHT_HEART,),
    (Tissue.LUNG, Tissue.LUNG_VESSEL),
    (Tissue.CORD, Tissue.CSF),
    (Tissue.DISC,),
    (Tissue.RECTUS,),
    (Tissue.MUSCLE,),
    (Tissue.FAT, Tissue.SKIN),
    (Tissue.VISCERAL_FAT, Tissue.FASCIA),
    (Tissue.RIB_MARROW, Tissue.CARTILAGE),
    (Tissue.ADRENAL,),
)
_LATERAL = {3: 0, 4: 1, 7: 2}  # truth value: kidneys and vertebrae
STRUCTURES = 1 + len(_GROUPS) + len(_LATERAL)


def paint(patient: int) -> tuple[np.ndarray, np.ndarray]:
    """Tissue and structure volumes of a pool patient, uint8 (88, 128, 160) each."""
    anatomy = generate_patient(SEED, patient)
    step = anatomy.supersampling
    tissue = anatomy.tissue[::-step, ::-step, :].transpose(2, 1, 0)
    truth = anatomy.labels[::-1, ::-1, :].transpose(2, 1, 0).repeat(step, axis=0)
    lookup = np.zeros(256, np.uint8)
    for index, group in enumerate(_GROUPS, start=1):
        lookup[[int(one) for one in group]] = index
    structure = lookup[tissue]
    for value, index in _LATERAL.items():
        structure[truth == value] = 1 + len(_GROUPS) + index
    return np.ascontiguousarray(tissue), structure


def _store(folder: Path, patient: int) -> None:
    tissue, structure = paint(patient)
    temporary = folder / f".patient{patient:04d}.npz"
    np.savez_compressed(temporary, tissue=tissue, structure=structure)
    temporary.replace(_file(folder, patient))


def _file(folder: Path, patient: int) -> Path:
    return folder / f"patient{patient:04d}.npz"


def fill_pool(
    folder: Path, patients: int, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> None:
    """Paint the patients 1 to ``patients`` that ``folder`` lacks, some 5 s of one core each."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [one for one in range(1, patients + 1) if not _file(folder, one).is_file()]
    done = patients - len(missing)
    if progress:
        progress(done, patients)
    if not missing:
        return
    with ProcessPoolExecutor(workers) as executor:
        for future in as_completed([executor.submit(_store, folder, one) for one in missing]):
            future.result()
            done += 1
            if progress:
                progress(done, patients)


def read_pool(folder: Path, patients: int) -> tuple[Tensor, Tensor]:
    """The pool as tensors: tissue and structure, uint8 (patients, Z, H, W)."""
    tissue, structure = [], []
    for patient in range(1, patients + 1):
        with np.load(_file(folder, patient)) as stored:
            tissue.append(torch.from_numpy(stored["tissue"]))
            structure.append(torch.from_numpy(stored["structure"]))
    return torch.stack(tissue), torch.stack(structure)
