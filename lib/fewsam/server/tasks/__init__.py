"""What MONAI Label runs: inference, points, training and the choice of the next image."""
