"""Saved models: a folder with tensors, configuration and card, here or on the Hugging Face Hub."""
