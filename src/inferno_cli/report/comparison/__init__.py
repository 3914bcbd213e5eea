"""Report of runs beside each other, and beside published numbers."""
