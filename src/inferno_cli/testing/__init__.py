"""Tests that every choice passes, ours and any that is installed; they need pytest."""
