"""AdapterFiles: what a method has learnt, as files that stock diffusers loads."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from safetensors.torch import save_file
from torch import Tensor

from callbacks.adapter_card import write_card
from callbacks.checkpoint_file import Companion
from callbacks.other_weights import other_weights
from lightning_modules.errors import ImpastoError
from lightning_modules.files import replacing, write_atomically
from lightning_modules.paths import slug

EMBEDDING, LORA, CARD = "learned_embeds.safetensors", "pytorch_lora_weights.safetensors", "README.md"
"""The names under which diffusers looks for them in a folder."""
UNET = "unet."


class AdapterFiles(Companion):
    """Write what a method that draws from words has learnt beside every checkpoint, for diffusers, with a model card.

    ``checkpoints/last`` belongs to ``checkpoints/last.ckpt``. It holds ``learned_embeds.safetensors`` for
    ``load_textual_inversion`` (of several styles one file each, ``learned_embeds-monet.safetensors``) or
    ``pytorch_lora_weights.safetensors`` for ``load_lora_weights``, and ``README.md``, which says how.
    """

    def __init__(self) -> None:
        self._saved: Mapping[str, Any] | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: ARG002
        """Refuse a method that has nothing to write.

        Raises:
            ImpastoError: If it is one.
        """
        if not hasattr(pl_module, "adapter_state"):
            raise ImpastoError(f"{type(pl_module).__name__} learns nothing that diffusers reads: drop AdapterFiles.")

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:  # noqa: ARG002
        """Remember what is being saved; callbacks that come later may still change it, such as an average's."""
        self._saved = checkpoint if trainer.is_global_zero else None

    def accompany(self, trainer: Trainer, folder: Path) -> None:
        """Write the files of the checkpoint that has just been saved."""
        if self._saved is None:
            return
        module: Any = trainer.lightning_module
        with other_weights(module, self._saved["state_dict"]):
            adapter = module.adapter_state()
        self._saved = None
        files = write_adapter(adapter, folder)
        if files:
            datamodule = getattr(trainer, "datamodule", None)
            write_atomically(folder / CARD, write_card(module, datamodule, adapter, files, trainer.global_step))


def write_adapter(adapter: Mapping[str, Mapping[str, Tensor]], folder: Path) -> dict[str, str]:
    """Write an adapter, every file whole or not at all.

    Args:
        adapter: As of `lightning_modules.generation.GenerativeModule.adapter_state`.
        folder: Where; made where it is missing.

    Returns:
        From style to the name of its file.
    """
    files = {}
    for style, tensors in adapter.items():
        path = folder / (EMBEDDING if is_embedding(style, tensors) else LORA)
        if len(adapter) > 1:
            path = path.with_stem(f"{path.stem}-{slug(style)}")
        with replacing(path) as temporary:
            _write(style, tensors, temporary)
        files[style] = path.name
    return files


def is_embedding(style: str, tensors: Mapping[str, Tensor]) -> bool:
    """Tell a learned embedding, whose one key is the style's placeholder, from a LoRA."""
    return tensors.keys() == {style}


def _write(style: str, tensors: Mapping[str, Tensor], path: Path) -> None:
    on_disk = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    if is_embedding(style, tensors):
        save_file(on_disk, path, metadata={"format": "pt"})
        return
    from diffusers import StableDiffusionPipeline  # seconds that embeddings do without

    layers: Any = {name.removeprefix(UNET): value for name, value in on_disk.items()}
    StableDiffusionPipeline.save_lora_weights(path.parent, unet_lora_layers=layers, weight_name=path.name)
