"""Calls, submission, polling and listing of tasks."""
