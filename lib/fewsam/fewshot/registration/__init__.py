"""Registration of slices, and the labels that it propagates within a volume and between images."""
