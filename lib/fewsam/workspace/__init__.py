"""One task folder: opened, exported and imported."""
