"""Rows of a table by number, and the sum of gradients that come back to each row."""
