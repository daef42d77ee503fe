"""What a trained network is good for beyond the classes that it was trained for."""
