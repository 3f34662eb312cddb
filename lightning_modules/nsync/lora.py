"""Low-rank adapters of the UNet's linear layers, with a copy for every role."""

from collections.abc import Iterator, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from lightning_modules.errors import ImpastoError
from lightning_modules.nsync.networks import Adapter, Copies
from lightning_modules.nsync.settings import Granularity, LoRASettings
from lightning_modules.optim.gradient_projection import Algorithm, GradientProjection, Variant


class RoleLinear(nn.Linear):
    """A linear layer that may have weights of its own for each of several equal parts of its batch."""

    copies: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Multiply every part of the batch ``(R * B, ..., in)`` by its copy ``(R, out, in)``."""
        if self.copies is None:
            return super().forward(x)
        rows = x.reshape(len(self.copies), -1, x.shape[-1])
        return torch.bmm(rows, self.copies.transpose(1, 2)).view(*x.shape[:-1], -1)


class LoRA(Adapter):
    """Low-rank matrices of PEFT in a frozen UNet, in single precision whatever the UNet's is.

    Args:
        unet: Gets them; all else in it stays frozen.
        settings: Where, and how large.
        name: Placeholder, or words, that name the style in prompts.

    Raises:
        ImpastoError: If no layer is a target.

    Source: NSYNC, section IV-F, names LoRA and nothing else; the recipe is that of diffusers'
        train_text_to_image_lora.
    """

    def __init__(self, unet: nn.Module, settings: LoRASettings, name: str) -> None:
        from peft import LoraConfig

        config = LoraConfig(
            r=settings.rank,
            lora_alpha=settings.alpha or settings.rank,
            init_lora_weights="gaussian",
            target_modules=list(settings.targets),
        )
        try:
            cast(Any, unet).add_adapter(config)
        except ValueError as error:
            raise ImpastoError(
                f"The UNet has no linear layer whose name ends in one of {', '.join(settings.targets)}: change "
                "model.lora.targets."
            ) from error
        layers = list(_low_rank_layers(unet))
        for layer in layers:
            layer.__class__ = RoleLinear
            layer.weight.data = layer.weight.data.float()
        super().__init__([cast(nn.Parameter, layer.weight) for layer in layers])
        self.name = name
        self._layers = cast(list[RoleLinear], layers)  # a list, so that they are not registered a second time
        self._unet = [unet]
        self._scale = (settings.alpha or settings.rank) / settings.rank

    def use(self, copies: Copies | None) -> None:
        """Compute with copies, or with the weights themselves."""
        weights: Sequence[Tensor | None] = [None] * len(self._layers) if copies is None else copies.weights
        for layer, weight in zip(self._layers, weights, strict=True):
            layer.copies = weight

    def combination(self, variant: Variant, algorithm: Algorithm, granularity: Granularity) -> GradientProjection:
        """Return how gradients are combined: all together, the two matrices of a layer together, or each alone."""
        count = len(self.weights)
        groups = {"tensor": range(count), "module": (number // 2 for number in range(count)), "global": [0] * count}
        return GradientProjection(variant, algorithm, tuple(groups[granularity]))

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return what pytorch_lora_weights.safetensors holds; a factor ``alpha / r`` is in the B matrices."""
        from diffusers.utils import convert_state_dict_to_diffusers
        from peft.utils import get_peft_model_state_dict

        found = {
            name: weight.detach() * (self._scale if ".lora_B." in name else 1.0)
            for name, weight in get_peft_model_state_dict(self._unet[0]).items()
        }
        return {self.name: {f"unet.{name}": weight for name, weight in convert_state_dict_to_diffusers(found).items()}}


def _low_rank_layers(unet: nn.Module) -> Iterator[nn.Linear]:
    """Yield A and B of every adapted layer."""
    from peft.tuners.lora import LoraLayer

    for module in unet.modules():
        if isinstance(module, LoraLayer):
            yield from (module.lora_A["default"], module.lora_B["default"])
