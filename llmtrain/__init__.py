"""What all sides share: the API's models, money and physics, storage, the command line."""
