"""The worker: a torch-free supervisor over compute processes that make videos. Decides no policy."""
