"""A ladder: small jobs that tell what a large one will come to, in loss and in dollars, before it is paid for."""
