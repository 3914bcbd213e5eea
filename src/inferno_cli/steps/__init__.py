"""The steps, one module each: ``SCHEMA`` is the class of its configuration, ``run(config, composed)`` does the work."""
