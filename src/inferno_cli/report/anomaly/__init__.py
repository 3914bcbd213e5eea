"""What `inferno anomaly` found: tables, figures and a page."""
