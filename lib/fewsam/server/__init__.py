"""The MONAI Label app around the library: the only place that imports ``monailabel``."""
