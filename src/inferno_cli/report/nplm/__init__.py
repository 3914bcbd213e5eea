"""Report of a test with the New Physics Learning Machine."""
