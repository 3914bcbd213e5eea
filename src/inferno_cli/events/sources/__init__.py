"""Kinds of dataset, one file each: a section of the configuration that makes events."""
