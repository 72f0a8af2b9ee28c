"""Estimators in scikit-learn's grammar, the heads behind them, the decision rule, and the model file."""
