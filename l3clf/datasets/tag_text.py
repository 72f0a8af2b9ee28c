"""Several labels of a clip as text: ``dog|rain``.

Rule: labels are joined by "|" in sorted order, no label is the empty string, and no label holds a "|" itself.
"""

from collections.abc import Iterable

__all__ = ["MIN_SHARE_OF_TAGS", "SEPARATOR", "joined_tags", "looks_like_tags", "split_tags"]

SEPARATOR = "|"
MIN_SHARE_OF_TAGS = 0.1
"""From which share of labels with a "|" on a column is taken for one of several labels."""


def split_tags(text: str) -> frozenset[str]:
    """Return the labels that a text names; spaces around them, empty and repeated ones do not count.

    Parameters
    ----------
    text : str

    Returns
    -------
    frozenset of str

    Examples
    --------
    >>> sorted(split_tags("rain | dog bark|rain"))
    ['dog bark', 'rain']
    """
    return frozenset(filter(None, map(str.strip, text.split(SEPARATOR))))


def joined_tags(tags: Iterable[object]) -> str:
    """Return labels as text, in sorted order.

    Parameters
    ----------
    tags : iterable of str, int, ...

    Returns
    -------
    str

    Examples
    --------
    >>> joined_tags({"rain", "dog"})
    'dog|rain'
    """
    return SEPARATOR.join(sorted(map(str, tags)))


def looks_like_tags(labels: Iterable[object]) -> bool:
    """Return whether so many labels hold a "|" that they are likely to name several labels each.

    Parameters
    ----------
    labels : iterable
        One for each clip.

    Returns
    -------
    bool
        Whether a tenth or more of them, and at least one, do.

    Examples
    --------
    >>> looks_like_tags(["dog", "dog|rain", ""]), looks_like_tags(["dog", "rain"])
    (True, False)
    """
    texts = [label for label in labels if isinstance(label, str)]
    found = sum(SEPARATOR in label for label in texts)
    return found > 0 and found >= MIN_SHARE_OF_TAGS * len(texts)
