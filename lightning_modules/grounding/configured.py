"""A grounder for YAML files, which have names and no objects."""

from torch import Tensor

from lightning_modules.grounding.choice import Settings, find_grounder
from lightning_modules.grounding.phrases import parse_where
from lightning_modules.grounding.places import locate
from lightning_modules.grounding.regions import Region


class PhraseGrounder:
    """Finds whole phrases, "everything except the two leftmost chairs" among them, by whoever a name chooses.

    Args:
        grounder: See `lightning_modules.grounding.choice.NAMES`, or a model's id or folder.
        device: Where it runs.
        download: Whether weights that are not on this machine are fetched.

    Raises:
        ImpastoError: If there is no such grounder, or its weights are missing.
    """

    def __init__(self, grounder: str = "auto", device: str = "cpu", *, download: bool = False) -> None:
        self._grounder = find_grounder(grounder, Settings(device=device, download=download))

    def ground(self, image: Tensor, phrase: str) -> list[Region]:
        """Return the one region that a phrase means; none where it means the whole picture.

        Args:
            image: ``(3, H, W)``, RGB in [0, 1].
            phrase: Such as ``"the sky and the sea"``.

        Raises:
            ImpastoError: If it is not found.
        """
        return [region for region in locate(image, [parse_where(phrase)], self._grounder) if region is not None]
