"""A loop that an exported graph keeps as one, whatever its length.

torch has no public name for it yet; ``for`` would be unrolled, at the one length that the exporter has seen. This is
the one place that says where it lives.
"""

from torch._higher_order_ops.scan import scan

__all__ = ["scan"]
