"""Reports: tables, figures and pages of a run, of a comparison, of a dataset and of a network."""
