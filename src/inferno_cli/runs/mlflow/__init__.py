"""MLflow: where runs are logged. MLflow itself is imported when a run starts, not with this package."""
