"""Run one bundle: networks, engines, the parity gate, and the cascade of a box net and a fine net.

Nothing is imported here: ``wetread --help`` must not pay for torch. Start reading at ``model.py``.
"""

import os

# PyTorch's threads otherwise spin for the next task while OpenVINO's want the cores: on a busy machine, everything
# round the network took several times as long. Read when the library is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Its memory comes in pages of 4 kB, which the kernel fills with zeros when they are first touched: a fifth of all CPU
# time of a brain extraction. Large blocks in large pages instead, where the kernel gives them when asked (``madvise``).
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
