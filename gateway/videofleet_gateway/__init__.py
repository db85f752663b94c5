"""The gateway: takes prompts over HTTP, checks and queues them, and hands back videos. Talks to no Kubernetes."""
