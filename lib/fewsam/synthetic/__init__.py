"""Generated patients, and pretraining on generated slices."""
