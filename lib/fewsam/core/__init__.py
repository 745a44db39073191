"""What every package stands on: errors, settings, files written whole, processes, and two measures."""
