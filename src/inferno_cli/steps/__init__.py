"""The steps, one module each: ``schema()`` gives the configuration class, ``run(config, composed)`` does the work."""
