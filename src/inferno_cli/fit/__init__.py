"""The fit: MINUIT on a pyhf workspace, to a typed result (``analysis.fit_workspace``)."""
