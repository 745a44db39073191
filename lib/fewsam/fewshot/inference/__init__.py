"""From a volume to a labelmap with its uncertainty, and the choice of the next slice to label."""
