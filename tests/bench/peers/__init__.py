"""What is measured: each a program that works as a consumer or as a client. See `protocol`."""
