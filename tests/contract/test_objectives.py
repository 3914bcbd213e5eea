"""Every objective, ours and those of installed packages, passes the tests that are shipped."""

from inferno_cli.testing.objectives import *  # noqa: F403
