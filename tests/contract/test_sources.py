"""Every kind of dataset, ours and those of installed packages, passes the tests that are shipped."""

from inferno_cli.testing.sources import *  # noqa: F403
