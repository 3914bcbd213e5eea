"""A likelihood in the files of other tools; whatever it is made of is written, and nothing is described twice."""
