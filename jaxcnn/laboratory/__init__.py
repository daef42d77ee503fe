"""What a compiled step tells before it is run: the memory and the time that it takes, here or on other machines."""
