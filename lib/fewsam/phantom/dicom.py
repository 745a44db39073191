"""A generated CT as a DICOM series: one file a slice, valid enough for a PACS and for SimpleITK's reader."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

from fewsam.phantom.anatomy import PatientAnatomy

_INTERCEPT = -1024


def write_series(folder: Path, ct: NDArray[np.int16], anatomy: PatientAnatomy, seed: int) -> None:
    """Write axial slices ``slice001.dcm`` (lowest) ... with UIDs that follow from the seed.

    Args:
        folder: made where missing; files of an earlier, longer series are removed.
        ct: int16 HU (i, j, k) in RAS+ order.
        anatomy: gives spacing and position.
        seed: of the data set.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("slice*.dcm"):
        stale.unlink()
    # Rows run from front to back and columns from the patient's right to the left, as a radiologist sees them.
    stored = (ct[::-1, ::-1, :].transpose(2, 1, 0).astype(np.int32) - _INTERCEPT).astype(np.uint16)
    corner = anatomy.affine @ [ct.shape[0] - 1, ct.shape[1] - 1, 0, 1]
    for number, pixels in enumerate(stored, start=1):
        z = float(corner[2] + (number - 1) * anatomy.spacing[2])
        position = [-float(corner[0]), -float(corner[1]), z]
        data = _slice(pixels, number, position, anatomy, seed)
        data.save_as(folder / f"slice{number:03d}.dcm", write_like_original=False)


def _uid(seed: int, *parts: object) -> UID:
    return generate_uid(entropy_srcs=["fewsam phantom", str(seed), *map(str, parts)])


def _slice(
    pixels: NDArray[np.uint16], number: int, position: list[float], anatomy: PatientAnatomy, seed: int
) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = _uid(seed, "instance", number)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", Dataset(), file_meta=meta, preamble=b"\0" * 128)
    data.is_little_endian, data.is_implicit_VR = True, False
    data.SpecificCharacterSet = "ISO_IR 100"
    data.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.StudyInstanceUID, data.SeriesInstanceUID = _uid(seed, "study"), _uid(seed, "series")
    data.FrameOfReferenceUID, data.PositionReferenceIndicator = _uid(seed, "frame"), ""
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = "20240102"
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = data.ContentTime = "101500"
    data.AccessionNumber, data.ReferringPhysicianName = "", ""
    data.Modality, data.Manufacturer, data.InstitutionName = "CT", "fewsam", "generated phantom, no patient"
    data.StudyDescription, data.SeriesDescription = "Phantom abdomen", f"CT abdomen {anatomy.traits.phase}"
    data.PatientName, data.PatientID = "Phantom^One", f"phantom-{seed}-01"
    data.PatientBirthDate, data.PatientSex = "", "O"
    data.BodyPartExamined, data.PatientPosition = "ABDOMEN", "HFS"
    data.KVP, data.ConvolutionKernel = "120", "standard"
    data.StudyID, data.SeriesNumber, data.AcquisitionNumber, data.InstanceNumber = "1", 1, 1, number
    data.SliceThickness = data.SpacingBetweenSlices = f"{anatomy.spacing[2]:.6g}"
    data.ImagePositionPatient = [f"{value:.6f}".rstrip("0").rstrip(".") for value in position]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.SliceLocation = data.ImagePositionPatient[2]
    data.PixelSpacing = [f"{anatomy.spacing[1]:.6g}", f"{anatomy.spacing[0]:.6g}"]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = _INTERCEPT, 1, "HU"
    data.WindowCenter, data.WindowWidth = 40, 400
    data.PixelData = pixels.astype("<u2").tobytes()
    return data
