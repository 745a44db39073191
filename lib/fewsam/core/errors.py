"""Errors a person can act on: each message names the input, what is wrong with it and the way out."""


class FewSAMError(Exception):
    """Base of every refusal that is the input's fault, not the program's."""


class ConfigError(FewSAMError):
    """A setting or preset is unknown or out of range."""


class ImageError(FewSAMError):
    """An image is missing, unreadable, empty, or not of a supported kind."""


class LabelError(FewSAMError):
    """A label is unreadable, empty, or does not fit the image's grid."""


class OutdatedError(LabelError):
    """A label was compared with another one that is no longer in force."""


class ChangedImageError(LabelError):
    """A label was drawn on an image that has other pixels by now."""


class EmptyLabelError(LabelError):
    """A label without a voxel of any class."""


class UnknownClassError(LabelError):
    """A label names a class that the task does not have."""


class CheckpointError(FewSAMError):
    """A checkpoint is missing, damaged, or of another architecture."""


class NotEncodedError(FewSAMError):
    """Embeddings are needed from the cache alone, and some are not there."""


class StorageError(FewSAMError):
    """The disk is full or a file of ours cannot be written."""
