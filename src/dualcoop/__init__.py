"""dualcoop: recognise every label in an image when only a few labels are known."""

__version__ = "0.1.0"
