"""The server's own HTTP routes, and the hardened ones of MONAI Label."""
