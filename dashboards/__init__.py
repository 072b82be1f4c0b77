"""Grafana boards and alert rules as Python; generated files are committed. Not shipped."""
