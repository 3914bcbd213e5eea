"""What a channel counts its events by: each file is a kind."""
