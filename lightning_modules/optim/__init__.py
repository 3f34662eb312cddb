"""Optimiser logic that two methods or more use."""
