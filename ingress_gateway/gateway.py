"""What the routes share: the parts of a worker, put together by ``server``."""

from dataclasses import dataclass

import grpc
from aiohttp import web

from ingress_gateway.arrival import Arrival
from ingress_gateway.counters import Counters
from ingress_gateway.facts import ClickReader
from ingress_gateway.journal.journal import Journal
from ingress_gateway.links import Links
from ingress_gateway.metrics_page import MetricsPage
from ingress_gateway.organisations import Organisations
from ingress_gateway.recorder import Recorder
from ingress_gateway.routing import Routing
from ingress_gateway.sampling import Sampler
from ingress_gateway.settings import GatewaySettings
from ingress_gateway.shipper import Shipper
from ingress_gateway.snapshots import KeyWatch, RoutingWatch
from ingress_gateway.streams import Streams
from ingress_gateway.unclaimed import Unclaimed
from ingress_gateway.visitors import Visitors
from svc_runtime.grpc_client import Credentials


@dataclass(frozen=True, slots=True)
class Channels:
    """Connections to the services."""

    auth: grpc.aio.Channel
    attribution: grpc.aio.Channel
    capture: grpc.aio.Channel
    analytics: grpc.aio.Channel


@dataclass(frozen=True, slots=True)
class Gateway:
    """One worker's parts."""

    settings: GatewaySettings
    organisations: Organisations
    routing: Routing
    journal: Journal
    shipper: Shipper
    key_watch: KeyWatch
    routing_watch: RoutingWatch
    recorder: Recorder
    visitors: Visitors
    links: Links
    reader: ClickReader
    unclaimed: Unclaimed
    sampler: Sampler
    counters: Counters
    channels: Channels
    credentials: Credentials
    metrics_page: MetricsPage
    streams: Streams


@dataclass(slots=True)
class Call:
    """One request in the slow lane."""

    gateway: Gateway
    request: web.BaseRequest
    arrival: Arrival
    path: dict[str, str]
    """Values of the path's variables, decoded."""
    trace_id: str = ""
    """Of the sampled span, or what the client sent."""
    traceparent: str = ""
    """Of the sampled span; empty when the request is not traced."""
