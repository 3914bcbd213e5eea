"""Signals at parameters that nobody simulated: conditional flows on a grid of signals, and how far to trust them."""
