"""Dropout whose mask is a function of (seed, stream, position) and is never stored."""
