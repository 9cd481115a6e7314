"""Dataset files, wherever from → tensors."""
