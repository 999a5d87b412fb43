"""What runs on the target: the installer, which needs nothing but Python's own library."""
