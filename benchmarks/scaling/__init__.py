"""How far one Postgres carries a store: unit costs, a fleet of processes, a model, a plan.

``make bench-scaling`` measures what one thing costs and what several processes reach here, checks
the model against the latter, and lets the model tell what cannot be run on one machine.
"""
