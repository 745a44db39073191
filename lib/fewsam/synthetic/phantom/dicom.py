"""A generated scan as a DICOM series: one file a slice, valid enough for a PACS and for SimpleITK's reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

from fewsam.synthetic.phantom.anatomy import PatientAnatomy

_INTERCEPT = {"CT": -1024, "MR": 0}  # stored values are not negative


def write_series(
    folder: Path, voxels: NDArray[np.int16], anatomy: PatientAnatomy, seed: int, patient: int = 1, modality: str = "CT"
) -> None:
    """Write axial slices ``slice001.dcm`` (lowest) ... of a study of its own, with UIDs that follow from the seed.

    Args:
        folder: made where missing; files of an earlier, longer series are removed.
        voxels: int16 (i, j, k) in RAS+ order: HU, or the MR-like signal from 0.
        anatomy: gives spacing and position.
        seed: of the data set.
        patient: number of the patient, from 1.
        modality: "CT" or "MR".
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("slice*.dcm"):
        stale.unlink()
    # Rows run from front to back and columns from the patient's right to the left, as a radiologist sees them.
    stored = (voxels[::-1, ::-1, :].transpose(2, 1, 0).astype(np.int32) - _INTERCEPT[modality]).astype(np.uint16)
    corner = anatomy.affine @ [voxels.shape[0] - 1, voxels.shape[1] - 1, 0, 1]
    for number, pixels in enumerate(stored, start=1):
        z = float(corner[2] + (number - 1) * anatomy.spacing[2])
        position = [-float(corner[0]), -float(corner[1]), z]
        data = _slice(pixels, number, position, anatomy, modality)
        _identify(data, seed, patient, modality, number)
        _set_modality(data, anatomy, modality)
        data.save_as(folder / f"slice{number:03d}.dcm", write_like_original=False)


def _uid(seed: int, *parts: object) -> UID:
    return generate_uid(entropy_srcs=["fewsam phantom", str(seed), *map(str, parts)])


def _identify(data: FileDataset, seed: int, patient: int, modality: str, number: int) -> None:
    scan = () if (patient, modality) == (1, "CT") else (patient, modality)
    storage = CTImageStorage if modality == "CT" else MRImageStorage
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = storage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = _uid(seed, "instance", number, *scan)
    data.StudyInstanceUID, data.SeriesInstanceUID = _uid(seed, "study", *scan), _uid(seed, "series", *scan)
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = _uid(seed, "frame", *scan), ""
    names = ("One", "Two", "Three", "Four", "Five", "Six")
    data.PatientName = f"Phantom^{names[patient - 1] if patient <= len(names) else patient}"
    data.PatientID = f"phantom-{seed}-{patient:02d}"
    data.StudyDescription = "Phantom abdomen" if modality == "CT" else "Phantom abdomen MR"


def _set_modality(data: FileDataset, anatomy: PatientAnatomy, modality: str) -> None:
    data.Modality = modality
    if modality == "CT":
        data.SeriesDescription = f"CT abdomen {anatomy.traits.phase}"
        data.KVP, data.ConvolutionKernel = "120", "standard"
        data.RescaleIntercept, data.RescaleSlope, data.RescaleType = _INTERCEPT["CT"], 1, "HU"
        data.WindowCenter, data.WindowWidth = 40, 400
        return
    data.SeriesDescription = "MR abdomen, generated"
    data.ScanningSequence, data.SequenceVariant, data.ScanOptions, data.MRAcquisitionType = "GR", "NONE", "", "2D"
    data.EchoTime, data.RepetitionTime, data.EchoTrainLength = "2", "150", "1"
    low, high = (float(v) for v in np.percentile(data.pixel_array, (1, 99.5)))
    data.WindowCenter, data.WindowWidth = round((low + high) / 2), max(round(high - low), 1)


def _slice(
    pixels: NDArray[np.uint16], number: int, position: list[float], anatomy: PatientAnatomy, modality: str
) -> FileDataset:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    data.is_little_endian, data.is_implicit_VR = True, False
    data.SpecificCharacterSet = "ISO_IR 100"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL" if modality == "CT" else "M"]
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = "20240102"
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = data.ContentTime = "101500"
    data.AccessionNumber, data.ReferringPhysicianName = "", ""
    data.Manufacturer, data.InstitutionName = "fewsam", "generated phantom, no patient"
    data.PatientBirthDate, data.PatientSex = "", "O"
    data.BodyPartExamined, data.PatientPosition = "ABDOMEN", "HFS"
    data.StudyID, data.SeriesNumber, data.AcquisitionNumber, data.InstanceNumber = "1", 1, 1, number
    data.SliceThickness = data.SpacingBetweenSlices = f"{anatomy.spacing[2]:.6g}"
    data.ImagePositionPatient = [f"{value:.6f}".rstrip("0").rstrip(".") for value in position]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.SliceLocation = data.ImagePositionPatient[2]
    data.PixelSpacing = [f"{anatomy.spacing[1]:.6g}", f"{anatomy.spacing[0]:.6g}"]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.PixelData = pixels.astype("<u2").tobytes()
    return data
