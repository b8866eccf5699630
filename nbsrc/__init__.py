"""The code behind the book: residual networks from pixels to security logs."""
