"""Report of one run: its summary on the terminal, its figures and its tables."""
