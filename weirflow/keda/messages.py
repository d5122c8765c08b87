"""The messages of KEDA's external scaler, described here in code: no compiler is needed to build them.

Names and numbers are those of `pkg/scalers/externalscaler/externalscaler.proto` in kedacore/keda. Its optional
`StreamMetricSpec` is not served: KEDA then asks for the target when it has to.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "externalscaler"
SERVICE = f"{PACKAGE}.ExternalScaler"

_STRING, _BOOL, _INT64, _DOUBLE = "STRING", "BOOL", "INT64", "DOUBLE"
_FIELDS = {
    "ScaledObjectRef": {"name": _STRING, "namespace": _STRING, "scalerMetadata": "*MetadataEntry"},
    "IsActiveResponse": {"result": _BOOL},
    "GetMetricSpecResponse": {"metricSpecs": "*MetricSpec"},
    "MetricSpec": {"metricName": _STRING, "targetSize": _INT64, "targetSizeFloat": _DOUBLE},
    "GetMetricsRequest": {"scaledObjectRef": "ScaledObjectRef", "metricName": _STRING},
    "GetMetricsResponse": {"metricValues": "*MetricValue"},
    "MetricValue": {"metricName": _STRING, "metricValue": _INT64, "metricValueFloat": _DOUBLE},
}
"""By message: its fields in the order of their numbers, from 1. A `*` is a list."""

_ENTRY = "ScalerMetadataEntry"  # what protoc calls the entries of the map `scalerMetadata`


def _file() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="weirflow/keda/externalscaler.proto", package=PACKAGE)
    file.syntax = "proto3"
    for name, fields in _FIELDS.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), start=1):
            _field(message, number, field, kind)
    ref = file.message_type[0]
    entry = ref.nested_type.add(name=_ENTRY)
    entry.options.map_entry = True
    _field(entry, 1, "key", _STRING)
    _field(entry, 2, "value", _STRING)
    ref.field[2].type_name = f".{PACKAGE}.{ref.name}.{_ENTRY}"
    return file


def _field(message: Any, number: int, name: str, kind: str) -> None:
    kinds = descriptor_pb2.FieldDescriptorProto
    field = message.field.add(name=name, number=number, json_name=name)
    field.label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
    if kind in (_STRING, _BOOL, _INT64, _DOUBLE):
        field.type = getattr(kinds, f"TYPE_{kind}")
    else:
        field.type, field.type_name = kinds.TYPE_MESSAGE, f".{PACKAGE}.{kind.removeprefix('*')}"


_POOL = descriptor_pool.DescriptorPool()  # of our own: another library may bring the same file
_POOL.Add(_file())


def _of(name: str) -> Any:
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))


ScaledObjectRef = _of("ScaledObjectRef")
IsActiveResponse = _of("IsActiveResponse")
GetMetricSpecResponse = _of("GetMetricSpecResponse")
MetricSpec = _of("MetricSpec")
GetMetricsRequest = _of("GetMetricsRequest")
GetMetricsResponse = _of("GetMetricsResponse")
MetricValue = _of("MetricValue")
