"""Weights made elsewhere: reading and writing files, and the names that others give to tensors."""

from tinygrad_llm.pretrained.safetensors import load_file, read_header, save_file

__all__ = ["load_file", "read_header", "save_file"]
