"""Figures: each measures one thing, of all contenders in turn."""
