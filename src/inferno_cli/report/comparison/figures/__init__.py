"""Figures of a comparison, one file each; an installed package adds its own in a folder of the same name.

``draw(comparison)`` yields names and figures; ``POSITION`` is where they stand on the page, without one at its end.
"""
