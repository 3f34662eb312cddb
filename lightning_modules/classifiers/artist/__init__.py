"""Who painted this? The judge behind the deception rate, trained on anybody's collection."""

from lightning_modules.classifiers.artist.module import ArtistClassification

__all__ = ["ArtistClassification"]
