"""The labels of clips that may have several: text such as ``dog|rain``, or a column of 0 and 1 for each tag.

Rule: a column of labels is taken before columns of 0 and 1, and what is missing in it is no tag.
"""

from collections.abc import Collection, Mapping, Sequence

from l3clf.datasets.csv_columns import Columns
from l3clf.datasets.tag_text import SEPARATOR, joined_tags, split_tags
from l3clf.errors import DatasetError

__all__ = ["binary_columns", "normal_text", "tag_columns", "tag_texts_of"]


def binary_columns(values: Mapping[str, Sequence[object]]) -> list[str]:
    """Return the columns whose values are all 0 or 1, in their order."""
    return [name for name, column in values.items() if column and all(_is_binary(value) for value in column)]


def _is_binary(value: object) -> bool:
    return value in ("0", "1") if isinstance(value, str) else bool(value == 0 or value == 1)


def tag_columns(table: str, columns: Columns, names: Collection[str], binary: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of 0 and 1 that are tags; none where there is a column of labels.

    Parameters
    ----------
    table : str
        Name of the table in messages.
    columns : Columns
    names : collection of str
        All columns.
    binary : sequence of str
        See `binary_columns`.

    Raises
    ------
    DatasetError
        If there are neither labels nor columns of 0 and 1, or one is named as no tag can be.
    """
    if columns.label in names and columns.label not in binary:
        return ()
    others = {columns.path, columns.fold, columns.group, columns.start, columns.end}
    found = tuple(name for name in binary if name not in others)
    if not found:
        raise DatasetError(
            f"{table}: neither a column {columns.label!r} nor columns of 0 and 1; write the tags of each clip as text "
            'such as "dog|rain", or give every tag a column'
        )
    for name in found:
        if SEPARATOR in name or not name.strip():
            raise DatasetError(f"{table}: column {name!r} cannot be the name of a tag; rename it")
    return found


def tag_texts_of(tags: Sequence[str], values: Mapping[str, Sequence[object]]) -> list[str]:
    """Return the tags of each row as text, from columns of 0 and 1."""
    columns = [[value in ("1", 1) for value in values[name]] for name in tags]
    return [
        joined_tags(name.strip() for name, has in zip(tags, row, strict=True) if has)
        for row in zip(*columns, strict=True)
    ]


def normal_text(label: object) -> str:
    """Return a label as text of sorted tags; what is missing is no tag."""
    if label is None or label != label or type(label).__name__ == "NAType":
        return ""
    return joined_tags(split_tags(str(label)))
