"""The simulation behind scripts/simulate_top11004.py: generator, detector, selection, file."""
