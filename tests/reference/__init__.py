"""Slow, obvious twins of the library, written from the formulas with torch alone."""
