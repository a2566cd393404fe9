"""Which of the restored etcd members must start first: tried with real etcd.

Three members run on loopback under load. Their data directories are copied seconds apart,
as Data Lifecycle Manager takes snapshots of their volumes, and the members are killed. The
copies are then started in several orders, and each time every member is asked whether it
serves.

Invariants:
- A member is stopped (SIGSTOP) while its directory is copied, so a copy is what a crash at
  that moment leaves; it is stopped for less than an election takes, so the cluster goes on.
- Each trial starts from fresh copies; nothing but loopback is used, and every process that
  is started here ends here.
"""
