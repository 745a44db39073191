"""Datastores: a local folder of studies, and a PACS with its SEG series."""
