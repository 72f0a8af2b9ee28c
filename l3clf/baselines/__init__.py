"""The baseline table: embedders x heads x poolings on identical folds, and the report made from it."""
