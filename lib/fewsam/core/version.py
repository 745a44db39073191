"""The version of fewsam."""

__version__ = "0.1.0"
