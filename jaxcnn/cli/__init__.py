"""The commands of ``jaxcnn``, a file each, which parses the arguments, calls what does the work, and prints."""
