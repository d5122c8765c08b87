"""Delivery of alerts: to Alertmanagers, webhooks and a file.

`open` knows what is open (pure); each receiver has a task and a state of its own, so that one that hangs or is down
costs nobody else anything; `notifier` hands each Decision to all of them without ever waiting.
"""

from weirflow.notify.notifier import Notifier

__all__ = ["Notifier"]
