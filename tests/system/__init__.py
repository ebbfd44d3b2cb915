"""Elections as their users see them: processes that are paused, killed and cut off from real stores."""
