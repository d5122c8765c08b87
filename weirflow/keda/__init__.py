"""KEDA's external scaler: forecasts of demand for whoever sets the number of replicas."""

from weirflow.keda.server import Scaler

__all__ = ["Scaler"]
