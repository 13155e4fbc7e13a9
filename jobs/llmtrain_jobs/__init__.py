"""What runs in the pods: the entrypoint and the stages."""
