"""Lifecycle Manager's errors."""

from moto.core.exceptions import JsonRESTError


class InvalidRequest(JsonRESTError):
    code = 400

    def __init__(self, message: str) -> None:
        super().__init__("InvalidRequestException", message)


class ResourceNotFound(JsonRESTError):
    code = 404

    def __init__(self, what: str) -> None:
        super().__init__("ResourceNotFoundException", f"{what} does not exist.")


class LimitExceeded(JsonRESTError):
    code = 429

    def __init__(self, message: str) -> None:
        super().__init__("LimitExceededException", message)
