"""What this computer offers and allows; the same arithmetic in less time."""
