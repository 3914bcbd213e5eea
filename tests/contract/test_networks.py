"""Every network, ours and those of installed packages, passes the tests that are shipped."""

from inferno_cli.testing.networks import *  # noqa: F403
