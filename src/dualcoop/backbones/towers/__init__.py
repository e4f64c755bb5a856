"""Image towers, and two towers that share a joint space."""
