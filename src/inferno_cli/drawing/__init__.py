"""What every figure is made of: the style, stacks of samples, points with errors. It knows no record."""
