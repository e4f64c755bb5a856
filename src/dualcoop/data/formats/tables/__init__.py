"""Label tables: a row for each image, and a column with its labels or one for each class."""
