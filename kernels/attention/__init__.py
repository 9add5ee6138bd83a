"""Scaled dot-product attention that never keeps the matrix of probabilities."""
