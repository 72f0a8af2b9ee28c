"""Guides for users: Markdown files that ship with the package, so that they are there on a closed network.

Rule: a guide is plain ASCII and reads well in a terminal; the tests run its commands and its Python.
"""

from importlib.resources import files

from l3clf.errors import ParameterError, did_you_mean

__all__ = ["TOPICS", "read_guide", "title"]

TOPICS = (
    "first-classifier",
    "small-data",
    "unknown-sounds",
    "several-labels",
    "events",
    "similar-sounds",
    "honest-baselines",
    "label-tracks",
    "cache",
    "large-collections",
    "real-time",
    "filters",
    "your-own-embedder",
    "fine-tuning",
    "distil-a-student",
    "microcontroller",
    "troubleshooting",
)
"""Every guide, in the order in which a newcomer would read them."""


def read_guide(topic: str) -> str:
    """Return the text of a guide.

    Parameters
    ----------
    topic : str
        One of `TOPICS`.

    Returns
    -------
    str
        Markdown.

    Raises
    ------
    ParameterError
        If `topic` is not one of them.
    """
    if topic not in TOPICS:
        hint = did_you_mean(topic, TOPICS)
        raise ParameterError(f"topic {topic!r}: there is no such guide{hint}; choose one of {', '.join(TOPICS)}")
    return files(__name__).joinpath(f"{topic}.md").read_text(encoding="utf-8")


def title(topic: str) -> str:
    """Return the title of a guide: its first line.

    Parameters
    ----------
    topic : str
        One of `TOPICS`.

    Returns
    -------
    str
        Without the mark of a Markdown heading.

    Raises
    ------
    ParameterError
        If `topic` is not one of them.
    """
    return read_guide(topic).partition("\n")[0].removeprefix("# ")
