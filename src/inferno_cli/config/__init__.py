"""The configuration: its schema, its checks, and where its files are."""
