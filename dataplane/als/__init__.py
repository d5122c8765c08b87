"""Envoy's access log service: from serialized messages to columns, and from columns to attempts."""
