"""The models, each in a file of its own: n-gram, neural n-gram, recurrent, GPT."""
