"""Nodes that stopped answering, and pods that were lost with theirs."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from llmtrain_operator.billing import Node, node_is_lost, parse_time
from llmtrain_operator.border import read
from llmtrain_operator.client import Cluster, Object
from llmtrain_operator.podshape import NodeShape
from llmtrain_operator.podstate import PodState

SILENT_AFTER = timedelta(seconds=60)
"""A node that is not Ready for longer has most likely lost its pods; Kubernetes itself waits five minutes to say so."""
UNCONFIRMED_AFTER = timedelta(seconds=15)
"""A kubelet confirms the end of a pod within seconds after the pod's grace; of one that does not, its node is asked for."""
GONE = Node(False, None, gone=True)
PRESUMED = Node(True, None)
"""A node that nobody has reason to ask for, or that cannot be read."""
NODES = "api/v1/nodes"
NODE_REASONS = {"Evicted", "NodeLost", "Shutdown", "NodeShutdown", "Terminated"}
NODE_DISRUPTIONS = {"DeletionByTaintManager", "DeletionByPodGC", "TerminationByKubelet"}


def silent(pod: PodState, nodes: Mapping[str, Node], now: datetime) -> bool:
    """The pod is bound to a node that is gone, or has not been Ready for a minute."""
    if not pod.node or not nodes:
        return False
    node = nodes.get(pod.node)
    return node is None or node.gone or (not node.ready and node.since is not None and now - node.since > SILENT_AFTER)


def lost_node(pod: PodState, nodes: Mapping[str, Node], now: datetime) -> str:
    """The node whose fault the end of this pod is; empty where it was not the node's.

    One that rejects pods which the scheduler gave it is at fault, whatever it says.
    """
    if pod.own_storage_limit:
        return ""
    evicted = pod.status_reason in NODE_REASONS or pod.disruption in NODE_DISRUPTIONS
    faulty = evicted or pod.rejected or silent(pod, nodes, now)
    return pod.node if faulty else ""


def abandoned(pod: PodState, nodes: Mapping[str, Node], now: datetime) -> bool:
    """Deleted, but its kubelet will never confirm that it is gone."""
    return pod.deleted and bool(pod.node) and node_is_lost(pod.raw, nodes, now)


def doubtful(pod: PodState, now: datetime) -> bool:
    """Whether the pod's node is to be asked for: the pod was cut off or disrupted, or its end is overdue."""
    return bool(pod.node) and (pod.cut_off or bool(pod.disruption) or overdue(pod, now, UNCONFIRMED_AFTER))


def overdue(pod: PodState, now: datetime, by: timedelta) -> bool:
    """The pod was to be gone so long ago, its grace included, and is there."""
    due = parse_time(pod.raw["metadata"].get("deletionTimestamp"))
    return due is not None and now - due >= by


async def fetch_node(cluster: Cluster, name: str) -> Node:
    """The node as it is now; ApiError where it cannot be read. By name: a list of thousands takes hundreds of megabytes."""
    found = await cluster.get(NODES, "", name)
    return GONE if found is None else read_node(found)


def read_node(raw: Object) -> Node:
    """Whether a node answers, and since when; parts of it that do not fit are not used."""
    node = read(NodeShape, raw).value or NodeShape()
    for condition in node.status.conditions:
        if condition.type == "Ready":
            return Node(condition.status == "True", parse_time(condition.lastTransitionTime))
    return Node(False, None)
