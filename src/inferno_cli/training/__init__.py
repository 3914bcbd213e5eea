"""Training: networks, summaries of their outputs, objectives, and what they make of events."""
