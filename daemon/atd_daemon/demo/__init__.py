"""The whole story on one machine: two people, two daemons, an embedded host and real data."""
