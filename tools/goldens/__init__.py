"""Fixtures and golden values, written by the libraries that tintype must agree with."""
