"""Distillation: a small student learns to answer as frozen teachers do (the extra ``distill``)."""
