"""CMS TOP-11-004, top pairs in tau + jets: selection, features and shifted selections. Columnar, on awkward arrays."""
