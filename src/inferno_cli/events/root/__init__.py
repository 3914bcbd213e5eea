"""Flat ntuples in ROOT files: where they are, their trees and weights, and their rows as events."""
