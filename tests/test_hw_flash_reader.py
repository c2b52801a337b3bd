# amaranth: UnusedElaboratable=no
import numpy as np
import pytest
from flash_model import Stored

from bittern.sim.bench import run_stream


@pytest.mark.parametrize("count", [1, 2, 40])
@pytest.mark.parametrize("stall", [0, 0.9])
def test_bytes_come_once_and_in_order(count, stall):
    content = np.random.default_rng(count).integers(0, 256, 2 + count + 5).tolist()
    stored = Stored(content, 0x1FFFE, 0x20000, count)
    run = run_stream(stored, {}, outputs=count, seed=count, stall=stall)
    assert run.outputs == content[2:2 + count]
    if not stall:
        assert np.all(np.diff(run.stamps) == 17)
