"""Runs: their folder, status and record; what makes two of them the same; to find, reuse, search and log them."""
