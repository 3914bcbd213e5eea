"""Every kind of systematic, ours and those of installed packages, passes the tests that are shipped."""

from inferno_cli.testing.systematics import *  # noqa: F403
