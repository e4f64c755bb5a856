"""The kinds of data sets that can be loaded, one a file."""
