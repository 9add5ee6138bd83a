"""Weights in and out: safetensors, and Hugging Face's names for them, without PyTorch."""
