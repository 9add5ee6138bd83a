"""Softmax and its logarithm over the last axis."""
