"""From the API's models to the plain numbers of `llmtrain.cost`, pure; used by the operator and the command line."""
