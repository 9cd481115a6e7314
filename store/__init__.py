"""Every file we write: its path, its format, its check, merging."""
