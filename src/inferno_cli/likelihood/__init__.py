"""The one likelihood: its specification, what it expects, and its information matrix; numpy's arrays or torch's."""
