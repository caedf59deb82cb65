"""Hooks: functions of the user that see, change, refuse or follow what is committed."""
