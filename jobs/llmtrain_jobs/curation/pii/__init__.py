"""Personal data by pattern and checksum. Names and addresses are out of scope: they need a model and a policy."""
