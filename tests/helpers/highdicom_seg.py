"""A DICOM SEG as another tool writes it: by highdicom, on a grid of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import highdicom
import numpy as np
import pydicom
from pydicom.sr.codedict import codes

from fewsam.images.volume import Volume


def write_other_seg(
    path: Path, masks: Mapping[str, np.ndarray], image: Volume, scan: Path, *, rows: slice = slice(None)
) -> None:
    """Write canonical masks, which may overlap, in the order given.

    Columns run the other way than the image's, frames from the last slice to the first, only ``rows`` are there, and
    only slices with something on them.
    """
    # As the image is stored: sources[k], native[i, j, k]
    sources = sorted((pydicom.dcmread(file) for file in scan.glob("*.dcm")), key=lambda d: d.ImagePositionPatient[2])
    native = {name: image.geometry.to_native(mask) for name, mask in masks.items()}
    used = [k for k in range(len(sources)) if any(mask[:, :, k].any() for mask in native.values())][::-1]
    frames = np.stack([np.stack([mask[::-1, rows, k].T for k in used]) for mask in native.values()], axis=-1)

    first = sources[0]
    down, right = (float(v) for v in first.PixelSpacing)
    start = rows.indices(first.Rows)[0]
    positions = []
    for k in used:
        x, y, z = (float(v) for v in sources[k].ImagePositionPatient)
        corner = (x + right * (first.Columns - 1), y + down * start, z)
        positions.append(highdicom.PlanePositionSequence(highdicom.CoordinateSystemNames.PATIENT, corner))
    between = abs(float(sources[1].ImagePositionPatient[2]) - float(first.ImagePositionPatient[2]))
    algorithm = highdicom.AlgorithmIdentificationSequence("somebody", codes.DCM.ArtificialIntelligence, "1")
    segments = [
        highdicom.seg.SegmentDescription(number, name, codes.SCT.Organ, codes.SCT.Organ, "SEMIAUTOMATIC", algorithm)
        for number, name in enumerate(native, start=1)
    ]
    data = highdicom.seg.Segmentation(
        source_images=[sources[k] for k in used],
        pixel_array=np.ascontiguousarray(frames, np.uint8),
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=highdicom.UID(),
        series_number=900,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="somebody",
        manufacturer_model_name="another tool",
        software_versions="1",
        device_serial_number="1",
        series_description="another tool",
        pixel_measures=highdicom.PixelMeasuresSequence((down, right), between, between),
        plane_orientation=highdicom.PlaneOrientationSequence("PATIENT", (-1.0, 0.0, 0.0, 0.0, 1.0, 0.0)),
        plane_positions=positions,
    )
    data.save_as(path)
