"""What operations needs: a cluster on one machine, containers, Kubernetes, monitoring."""
