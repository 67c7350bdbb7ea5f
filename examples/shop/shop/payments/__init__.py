"""payments: takes the money, and gives it back."""
