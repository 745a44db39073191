"""The version of fewsam."""

__version__ = "0.2.0"
