"""Report of what a dataset holds."""
