"""The controller: watches LLMTrainingJobs, gives each stage a cluster, takes it down, keeps the bill."""

from llmtrain_operator.imports import without_its_root

# Before anything of the package imports it, or kopf, which does.
without_its_root("kubernetes")
