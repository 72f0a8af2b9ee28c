"""scikit-learn estimators for sound clips, their heads, the decision rule and the model file."""
