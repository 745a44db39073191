"""Episodes, validation, and the run that teaches a decoder."""
