"""The stores that need no other distribution: in memory, and an SQLite file."""
