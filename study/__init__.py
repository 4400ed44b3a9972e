"""A study: spec → plan → search → engine → store. The engine alone imports Ray, the store alone MLflow."""
