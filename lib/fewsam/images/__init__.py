"""Images and labels as files have them: volumes, geometry, DICOM and SEG, and preprocessing for an encoder."""
