"""A small DICOM series, written slice by slice."""

import numpy as np
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, generate_uid


def write_dicom(folder, positions, pixels=None, orientation=(1, 0, 0, 0, 1, 0), uid="", modality="CT", **extra):
    folder.mkdir(parents=True, exist_ok=True)
    for n, position in enumerate(positions):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data = pydicom.dataset.FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        data.SeriesInstanceUID, data.Modality, data.InstanceNumber = uid, modality, n + 1
        if position is not None:
            data.ImagePositionPatient, data.ImageOrientationPatient = list(position), list(orientation)
        data.PixelSpacing, data.RescaleSlope, data.RescaleIntercept = [0.5, 0.75], 1, -1024
        image = np.full((4, 6), n, np.uint16) if pixels is None else pixels[n]
        data.Rows, data.Columns = image.shape
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 12, 11, 0
        data.PixelData = image.astype(np.uint16).tobytes()
        for key, value in extra.items():
            setattr(data, key, value)
        data.is_little_endian, data.is_implicit_VR = True, False
        # names in another order than the slices
        data.save_as(folder / f"{modality}.{(n * 7) % 100:03d}{uid[-4:]}", write_like_original=False)
