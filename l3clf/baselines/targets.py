"""What a baseline predicts: one class for each clip, or several tags; the rest of it does not ask which.

Rule: all that differs between the two until the report is here, so that both are split, scored and stored alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from l3clf.classifier.estimators import ClipClassifier
from l3clf.classifier.tag_labels import TagTargets, as_tag_targets, as_tags, check_both_ways
from l3clf.classifier.tagger import ClipTagger
from l3clf.datasets import ClipTable, Description
from l3clf.datasets.describe_tags import describe_tags, tag_problems
from l3clf.errors import DatasetError, ParameterError
from l3clf.evaluate import (
    CrossValidation,
    Split,
    cross_validate_poolings,
    cross_validate_tags,
    every_tag_floor,
    majority_floor,
    make_split,
    make_tag_split,
    scores,
    scores_of_tags,
)
from l3clf.evaluate.splits import Labels
from l3clf.evaluate.tag_crossval import threshold_groups

__all__ = ["ClassTarget", "Model", "TagTarget", "Target"]

Model: TypeAlias = ClipClassifier | ClipTagger


@dataclass(frozen=True, eq=False)
class ClassTarget:
    """One class for each clip of a table.

    Attributes
    ----------
    table : ClipTable
    """

    table: ClipTable
    lead: ClassVar[str] = "accuracy"
    lead_name: ClassVar[str] = "accuracy"

    @cached_property
    def classes(self) -> NDArray[Any]:
        """The sorted labels."""
        return np.unique(self.table.labels)

    def of(self, table: ClipTable) -> "ClassTarget":
        """Return the same for other clips."""
        return ClassTarget(table)

    def describe(self) -> Description:
        """See `ClipTable.describe`."""
        return self.table.describe()

    def problems(self) -> list[str]:
        """See `ClipTable.problems`."""
        return self.table.problems()

    def split(self) -> Split:
        """Return the folds."""
        return make_split(self.table.labels, self.table.folds, self.table.groups)

    def validate(
        self, model: Any, poolings: Sequence[str], windows: Sequence[Any], split: Split, n_jobs: int | None
    ) -> list[CrossValidation]:
        """Cross-validate a model with each of some poolings that share a head."""
        return cross_validate_poolings(model, poolings, windows, self.table.labels, split, n_jobs)

    def scores(self, answers: CrossValidation, split: Split) -> dict[str, float]:
        """Return the scores of a row."""
        return scores(self.table.labels, answers.predictions, split.test_fold, self.table.groups)

    def floors(self, split: Split) -> dict[str, float]:
        """Return what needs no sound at all."""
        return majority_floor(self.table.labels, split)

    def grouped(self, split: Split) -> Labels | None:
        """Return which clips belong together when a model is fitted: groups have no meaning there."""
        return None

    def fit(self, model: Any, clips: Sequence[Any], split: Split) -> Any:
        """Fit a model on all clips."""
        return model.fit(clips, self.table.labels)


@dataclass(frozen=True, eq=False)
class TagTarget:
    """The tags of each clip of a table, whose labels are texts such as ``dog|rain``.

    Attributes
    ----------
    table : ClipTable
    """

    table: ClipTable
    lead: ClassVar[str] = "map"
    lead_name: ClassVar[str] = "mAP"

    @cached_property
    def tags(self) -> list[frozenset[str]]:
        """The tags of each clip."""
        return as_tags(map(str, self.table.labels.tolist()))

    @cached_property
    def targets(self) -> TagTargets:
        """The tags as an indicator matrix.

        Raises
        ------
        DatasetError
            If there are none, or one that every clip has.
        """
        try:
            targets = as_tag_targets(self.tags, len(self.table))
            check_both_ways(targets)
        except ParameterError as error:
            raise DatasetError(f"labels: {str(error).removeprefix('y: ')}") from None
        return targets

    @property
    def classes(self) -> NDArray[Any]:
        """The sorted tags."""
        return self.targets.classes

    def of(self, table: ClipTable) -> "TagTarget":
        """Return the same for other clips."""
        return TagTarget(table)

    def describe(self) -> Description:
        """See `describe_tags`."""
        return describe_tags(self.table, self.tags)

    def problems(self) -> list[str]:
        """See `tag_problems`."""
        return tag_problems(self.table, self.tags)

    def split(self) -> Split:
        """Return the folds."""
        return make_tag_split(self.targets.indicator, self.table.folds, self.table.groups)

    def validate(
        self, model: Any, poolings: Sequence[str], windows: Sequence[Any], split: Split, n_jobs: int | None
    ) -> list[CrossValidation]:
        """Cross-validate a tagger with each of some poolings."""
        return [
            cross_validate_tags(model.set_params(pooling=pooling), windows, self.tags, split, self.table.groups, n_jobs)
            for pooling in poolings
        ]

    def scores(self, answers: CrossValidation, split: Split) -> dict[str, float]:
        """Return the scores of a row."""
        found = answers.probabilities, answers.predictions
        return scores_of_tags(self.targets.indicator, *found, split.test_fold, self.table.groups)

    def floors(self, split: Split) -> dict[str, float]:
        """Return what needs no sound at all."""
        return every_tag_floor(self.targets.indicator)

    def grouped(self, split: Split) -> Labels | None:
        """Return which clips belong together when thresholds are learned."""
        return threshold_groups(split, self.table.groups)

    def fit(self, model: Any, clips: Sequence[Any], split: Split) -> Any:
        """Fit a tagger on all clips."""
        return model.fit(clips, self.tags, groups=self.grouped(split))


Target: TypeAlias = ClassTarget | TagTarget
