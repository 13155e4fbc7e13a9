"""Families of Hugging Face models that ours can be, exactly: GPT-2, Llama, Qwen 3, OLMo 2, BLOOM."""
