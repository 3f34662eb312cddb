"""State-space scans and the token mixers made of them: the door to the modules beside this one.

``selective_scan`` is Mamba-1's recurrence, exact on every device; ``ssd_scan`` is Mamba-2's chunked form.
"""

from lightning_modules.networks.mamba import Mamba1Mixer, SSDMixer
from lightning_modules.networks.mamba_scan import Backend, find_kernel, selective_scan
from lightning_modules.networks.scan_order import DirectionalMixer, ScanOrder
from lightning_modules.networks.ssd import ssd_scan

__all__ = [
    "Backend",
    "DirectionalMixer",
    "Mamba1Mixer",
    "SSDMixer",
    "ScanOrder",
    "find_kernel",
    "selective_scan",
    "ssd_scan",
]
