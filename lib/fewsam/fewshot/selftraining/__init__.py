"""A second, longer training for when nobody waits: the decoder learns from slices that nobody labelled."""
