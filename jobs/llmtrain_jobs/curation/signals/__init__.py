"""What is measured of a text, once; rules are bounds over these numbers."""
