"""The bottom layer: reading and writing files. Knows nothing of the method."""
