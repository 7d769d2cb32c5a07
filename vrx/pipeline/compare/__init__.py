"""Two videos side by side, alone or beside the one they should be: found where they belong, measured, shown."""
