"""The controller: watches LLMTrainingJobs, gives each stage a cluster, takes it down, keeps the bill."""
