"""Analyses: what makes the ntuples of a measurement, and what is common to all of them."""
