"""Sets of labelled images for evaluation, and the slices that a draw labels."""
