"""Smooth activations: GELU (exact and tanh), SiLU and the gated SwiGLU."""
