"""Money and physics as pure functions of numbers; nothing here knows Kubernetes or the API's models."""
