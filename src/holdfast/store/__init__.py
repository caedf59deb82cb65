"""The kernel: scopes, values, records, the journal, the commit lane and transactions.

It stands on the engine contract and knows no feature; features attach through what it offers.
"""
