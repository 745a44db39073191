"""The method: few-shot prompts, decoder, registration, inference and training."""
