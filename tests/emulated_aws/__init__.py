"""An emulated AWS for tests and the demo: moto, corrected, plus Lifecycle Manager.

moto keeps the state of EC2, IAM, SNS, STS, SQS and Auto Scaling. The modules here
correct it where it differs from AWS in ways that a backup tool would notice (paging,
idempotency tokens, states that take time, tag rules), add Amazon Data Lifecycle
Manager (``dlm``), enforce identity policies (``permissions``), and put a control interface under ``/emulator/`` with which a test
moves the clock, plants failures and reads back what was called.

Invariants:
- One process is one AWS. All state is in moto's backends or in the singletons of
  these modules, and only touched while ``application.state_lock`` is held.
- moto is changed only through ``patching.replace``, which fails at start-up where
  moto no longer has what is being replaced.
"""
