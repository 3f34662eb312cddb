"""NSYNC: styles of text-to-image models, learnt by projected gradients of positives and negatives."""

from lightning_modules.nsync.module import NSYNC

__all__ = ["NSYNC"]
