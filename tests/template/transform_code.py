"""Where the functions' code lies after `sam package`, as the transformed template has it."""

CODE = {"Bucket": "packaged", "Key": "function.zip"}
