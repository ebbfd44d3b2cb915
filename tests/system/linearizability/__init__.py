"""Histories of operations under faults, and whether the store was linearizable in them."""
