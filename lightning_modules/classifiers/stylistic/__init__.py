"""Is this picture a style? NeAT's predictor, which sorts what a collection holds into styles and contents."""

from lightning_modules.classifiers.stylistic.module import StylisticPrediction

__all__ = ["StylisticPrediction"]
