"""Histograms: filling templates, ordering and merging their bins."""
