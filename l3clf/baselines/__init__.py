"""The baseline table: embedders x heads x poolings on identical folds, and the files that come of it."""
