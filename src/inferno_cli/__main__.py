"""``python -m inferno_cli STEP [overrides]``."""

from inferno_cli.cli.main import main

if __name__ == "__main__":
    main()
