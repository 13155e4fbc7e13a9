"""A job's stages on one machine, by the same code as in the pods, priced as if they had run on the plans' machines."""
