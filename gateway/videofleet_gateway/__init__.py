"""The front door: the OpenAI Videos API over the queue and the object store. Talks to no Kubernetes and no GPU."""
