"""What loss the money buys: a scaling law, its fit to runs of one's own, and the ladder of small jobs behind it."""
