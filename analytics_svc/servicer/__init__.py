"""The RPCs of analytics_svc, a module for each subject."""
