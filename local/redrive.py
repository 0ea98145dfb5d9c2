"""What `aws sqs start-message-move-task` does: moto 5.2 has no StartMessageMoveTask."""

from collections.abc import Mapping

from local.clients import client_for


def move_messages(environ: Mapping[str, str], source_url: str, destination_url: str) -> int:
    """Move every visible message from one queue to the other; returns how many.

    "All redriven messages are considered new messages with a new messageID and enqueueTime" (SQS
    developer guide), and their count of receives begins anew.
    """
    sqs = client_for("sqs", environ)
    moved = 0
    while messages := sqs.receive_message(
        QueueUrl=source_url, MaxNumberOfMessages=10, MessageAttributeNames=["All"]
    ).get("Messages"):
        for message in messages:
            sqs.send_message(
                QueueUrl=destination_url,
                MessageBody=message["Body"],
                MessageAttributes=message.get("MessageAttributes", {}),
            )
            sqs.delete_message(QueueUrl=source_url, ReceiptHandle=message["ReceiptHandle"])
            moved += 1
    return moved
