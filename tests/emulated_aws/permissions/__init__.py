"""IAM's identity policies, enforced with their conditions.

moto can check permissions, but takes no notice of conditions. Here a call is allowed as
the documents say that a test has put in force for its access key; calls with other keys
are not restricted.

`conditions` and `documents` read and judge policies, `needs` says what each operation
needs, `enforcement` keeps what is in force and answers what is denied.
"""

from .enforcement import permissions as permissions
