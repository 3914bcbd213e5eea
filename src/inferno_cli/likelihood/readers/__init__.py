"""Likelihoods from the files of other tools, read into a specification or refused with one message."""
