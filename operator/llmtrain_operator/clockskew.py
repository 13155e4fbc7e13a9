"""People are told of a node whose clock is minutes off: what its pods say of their time is then not what is billed."""

from datetime import timedelta

from llmtrain_operator.turn import Turn

CLOCK_SKEWED = "ClockSkewed"
NODE_CLOCK_OFF = "NodeClockOff"


def tell_skew(turn: Turn) -> None:
    """Note the condition where a pod's own times cannot be; it stays, for a bill was bounded."""
    before = next((one.message for one in turn.status.conditions if one.type == CLOCK_SKEWED), "")
    for pod in turn.seen.pods:
        off = pod.clock_off(turn.now)
        if off is None or f"`{pod.node}`" in before:
            continue
        way = "ahead of" if off > timedelta(0) else "behind"
        turn.skewed = (
            f"the clock of node `{pod.node}` is {abs(int(off.total_seconds()))} s or more {way} the apiserver's, by what pod "
            f"{pod.name} tells; pods there are billed up to when the apiserver was told that they were over"
        )
        turn.tell(NODE_CLOCK_OFF, turn.skewed, warning=True)
        return
