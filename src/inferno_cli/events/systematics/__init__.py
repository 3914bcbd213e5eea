"""Kinds of systematic uncertainty, one file each: what varies the events, and the modifier that it becomes."""
