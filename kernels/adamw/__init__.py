"""One step of Adam or AdamW on one parameter, and the norm of many gradients."""
