"""Run one bundle: networks, engines, the parity gate, and the cascade of a box net and a fine net.

Nothing is imported here: ``wetread --help`` must not pay for torch. Start reading at ``model.py``.
"""
