"""Text towers, and how prompts go through them."""
