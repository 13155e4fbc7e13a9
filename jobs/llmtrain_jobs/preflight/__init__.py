"""The check before anything is paid for."""
