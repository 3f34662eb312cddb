"""What ProceduralArt's contents show, in the words that prompts are made of."""

from datamodules.procedural.contents import Content

_MEDIUM = "a photo of "


def caption(content: Content | str) -> str:
    """Return what a content shows, without a word on how its picture was made.

    Args:
        content: A content, or its caption as ``contents.csv`` has it.

    Examples:
        >>> caption("a photo of the sea under a grey sky")
        'the sea under a grey sky'
    """
    words = content if isinstance(content, str) else content.caption
    return words.removeprefix(_MEDIUM)
