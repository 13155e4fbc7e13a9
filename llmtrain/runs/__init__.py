"""Runs beside each other: what they were made of, what they learnt by tokens and by dollars, what they cost and wasted."""
