"""What Lambda calls, and everything that is about Lambda, S3 and SQS."""
