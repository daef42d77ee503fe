"""The commands of ``jaxcnn``, a file each, which parse the arguments, call what does the work, and print."""
