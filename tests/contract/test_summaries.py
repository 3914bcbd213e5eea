"""Every summary, ours and those of installed packages, passes the tests that are shipped."""

from inferno_cli.testing.summaries import *  # noqa: F403
