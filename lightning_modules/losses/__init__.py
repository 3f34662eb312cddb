"""Losses that two methods or more use: pure functions of plain tensors, symbols as in the papers."""
