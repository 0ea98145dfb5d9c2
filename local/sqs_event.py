"""A message as SQS answers it -> a record as Lambda hands it to a function.

"Using Lambda with Amazon SQS" in the developer guide shows the format.
"""

import base64
from typing import Any


def record_for(message: dict[str, Any], queue_arn: str, region: str) -> dict[str, Any]:
    """Return the record for a message of boto3's `receive_message`."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": {
            name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()
        },
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": region,
    }


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    # SQS has no lists yet; Lambda names them all the same.
    lists: dict[str, Any] = {"stringListValues": [], "binaryListValues": []}
    attribute = {**lists, "dataType": value["DataType"]}
    if "StringValue" in value:
        attribute["stringValue"] = value["StringValue"]
    if "BinaryValue" in value:
        attribute["binaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    return attribute
