"""A small PACS over a folder of DICOM files, and Orthanc as a process."""
