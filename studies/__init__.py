"""Scripts that use the instrument to answer something."""
