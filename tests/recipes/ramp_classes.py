"""What the recipe beside it imports."""

CLASSES = ("down", "flat", "up")
