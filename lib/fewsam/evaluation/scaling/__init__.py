"""How time and memory grow: with workers, volumes, classes, labelled slices and cached embeddings."""
