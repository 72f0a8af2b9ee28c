"""Warnings while the folds of a cross-validation are fitted in threads.

Rule: filters belong to the whole process, so they are set once, around all threads, instead of in each.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from l3clf.errors import ClipWarning

__all__ = ["fold_warnings"]


@contextmanager
def fold_warnings() -> Iterator[None]:
    """Keep back what the final fit says once for the whole data set, and what scikit-learn's forests say by mistake.

    Before Python 3.14, scikit-learn empties the process's filters for a moment for each tree; a forest in another
    thread that finds them empty then warns, thousands of times, that it lost its settings. No filter holds that back.
    """
    with warnings.catch_warnings():  # restores `showwarning`, too
        warnings.simplefilter("ignore", ClipWarning)
        show = warnings.showwarning

        def shown(
            message: Warning | str,
            category: type[Warning],
            filename: str,
            lineno: int,
            file: TextIO | None = None,
            line: str | None = None,
        ) -> Any:
            if not (category is ClipWarning or "sklearn.utils.parallel.delayed" in str(message)):
                show(message, category, filename, lineno, file, line)

        warnings.showwarning = shown
        yield
