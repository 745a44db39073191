"""The decoder, its prompts and losses, the views it learns from, and the store of its versions."""
