"""Negative sets: what a frozen pipeline draws by the captions of a style's pictures, in no style of its own."""

from experiments.negatives.maker import Negatives

__all__ = ["Negatives"]
