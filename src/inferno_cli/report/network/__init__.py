"""Report of what a network has learnt."""
