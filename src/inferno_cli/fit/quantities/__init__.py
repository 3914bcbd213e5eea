"""What a fit can be asked for: every file is a quantity (see ``inferno_cli.fit.result.Quantity``)."""
