"""Tables, figures and page of an interpolation."""
