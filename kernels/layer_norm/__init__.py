"""Layer normalisation and RMS normalisation over the last axis."""
