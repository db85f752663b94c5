"""The operator: turns VideoGenerators into warm worker Deployments and reports in their status."""
