"""Metrics as pure functions of plain tensors, one value per sample."""
