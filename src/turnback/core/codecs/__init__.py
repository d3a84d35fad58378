"""Codecs: how the values of one column cross between the engines. One family a file."""
