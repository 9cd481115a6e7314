"""What else is read off one trained model."""
