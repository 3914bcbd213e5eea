"""Figures of a comparison, one file each; an installed package adds its own in a folder of the same name.

``draw(comparison)`` yields names and figures; ``POSITION`` is where they stand on the page, without one at its end. A
file with numbers of its own has ``tables(comparison)`` as well: names, the table to be read, and that with all digits.
"""
