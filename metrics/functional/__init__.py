"""Metrics as pure functions of plain tensors."""
