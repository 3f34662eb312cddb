"""The packages of the extra `diffusion`, which take seconds to import and are imported where they are used."""

from importlib.util import find_spec

from lightning_modules.errors import ImpastoError

PACKAGES = ("diffusers", "transformers", "peft", "accelerate")


def demand_diffusion() -> None:
    """Go on where the packages of latent diffusion are there.

    Raises:
        ImpastoError: If one of them is missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ImpastoError(
            f"Latent diffusion needs {', '.join(missing)}: run `pip install -e '.[diffusion]'`, or "
            "`make setup EXTRAS=dev,diffusion`."
        )
