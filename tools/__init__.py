"""What the Makefile needs beyond make."""
