"""Cross entropy of logits against class numbers, from the log-sum-exp of each row."""
