"""Plain functions on plain arrays, one folder an operation; they know nothing of Tensor."""
