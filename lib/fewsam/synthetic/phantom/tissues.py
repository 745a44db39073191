"""The tissues a phantom is made of, and the classes of its ground truth."""

from __future__ import annotations

from enum import IntEnum


class Tissue(IntEnum):
    """What one voxel of the fine grid is made of; ``AIR`` is 0 so that an empty canvas is air."""

    AIR = 0
    SKIN = 1
    FAT = 2
    MUSCLE = 3
    VISCERAL_FAT = 4
    LUNG = 5
    LUNG_VESSEL = 6
    MYOCARDIUM = 7
    LEFT_HEART = 8
    RIGHT_HEART = 9
    LIVER = 10
    HEPATIC_VEIN = 11
    PORTAL_VEIN = 12
    SPLEEN = 13
    CORTEX = 14
    MEDULLA = 15
    RENAL_PELVIS = 16
    STOMACH_WALL = 17
    STOMACH_FLUID = 18
    GAS = 19
    BOWEL_WALL = 20
    CHYME = 21
    STOOL = 22
    GALLBLADDER = 23
    PANCREAS = 24
    AORTA = 25
    ARTERY = 26
    CAVA = 27
    RENAL_VEIN = 28
    CORTICAL_BONE = 29
    SPONGY_BONE = 30
    DISC = 31
    CORD = 32
    CSF = 33
    CARTILAGE = 34
    ADRENAL = 35
    CALCIFICATION = 36
    FASCIA = 37
    TABLE_SHELL = 38
    TABLE_FOAM = 39
    RECTUS = 40
    RIB_MARROW = 41


SOFT = (Tissue.VISCERAL_FAT, Tissue.FAT, Tissue.FASCIA)
"""What organs and vessels are painted over."""

LABELS: dict[int, str] = {
    1: "liver",
    2: "spleen",
    3: "kidney_right",
    4: "kidney_left",
    5: "stomach",
    6: "aorta",
    7: "vertebrae",
    8: "lungs",
}
"""Value in the ground-truth labelmaps -> class name. 0 is background."""

VALUES: dict[str, int] = {name: value for value, name in LABELS.items()}
