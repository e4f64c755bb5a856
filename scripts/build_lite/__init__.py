"""Builds the weights of the `lite` backbone from registry packages alone; see `__main__.py`."""
