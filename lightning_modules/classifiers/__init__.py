"""Classifiers that judge pictures, each trained by an experiment of its own."""
