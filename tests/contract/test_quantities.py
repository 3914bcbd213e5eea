"""Every quantity of a fit, ours and those of installed packages, passes the tests that are shipped."""

from inferno_cli.testing.quantities import *  # noqa: F403
