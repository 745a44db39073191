"""The few-shot collection: what people drew, slice by slice, with its history. Append-only.

collection = Collection(folder, labels=("liver", "spleen"))
collection.submit(volume, "patient-1", {"liver": mask})  # bool (Z, H, W)
for shot in collection.shots(split="train"): ...
"""

from fewsam.collection.records import ImageRecord, Place, Shot, Submission, one_of_each_place
from fewsam.collection.store import Collection

__all__ = ["Collection", "ImageRecord", "Place", "Shot", "Submission", "one_of_each_place"]
